"""What the kernel is told about a program's process: which calls are left, and where clocks are.

A program sees one shopper. What it could learn of another one has to come by some channel, so
nothing is allowed but to compute in memory of its own, and to end. Only calls on this list are let
through; among those that are not: files (whether one is in the machine's memory tells who read it
before), everything that waits (the limit by the clock would be a clock), writing, sockets,
processes and threads, signals, process ids, resource use, and every clock.
"""

from __future__ import annotations

import platform
import struct
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["KernelFacts", "kernel_facts"]

# Name: number on x86_64, number on aarch64.
_ALLOWED: Final[dict[str, tuple[int, int]]] = {
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "sched_yield": (24, 124),
    "getrandom": (318, 278),
    "uname": (63, 160),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


class _Some(NamedTuple):
    """A call that is let through where one of its arguments, masked, is one of these.

    Args:
        numbers: on x86_64, on aarch64.
        place: which argument.
        mask: bits of it that count.
        values: what they may be.
    """

    numbers: tuple[int, int]
    place: int
    mask: int
    values: tuple[int, ...]


_SOME: Final = {
    # WAKE and WAKE_BITSET, whatever the flags: nobody waits, and nobody else is there to be woken.
    "futex": _Some((202, 98), 1, 0x7F, (1, 10)),
    # DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE: of one's own memory. Others evict or fetch pages that
    # all share.
    "madvise": _Some((28, 233), 2, 0xFFFFFFFF, (4, 8, 14, 15)),
}

_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ALLOW, _KILL, _DENY = 0x7FFF0000, 0x80000000, 0x00050001
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_USUAL_CACHE, _MOST_CACHE = 32 << 20, 256 << 20


class _Machine(NamedTuple):
    audit_arch: int
    column: int
    clone: int
    seccomp: int
    clock_gettime: int


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 0, 56, 317, 228),
    "aarch64": _Machine(0xC00000B7, 1, 220, 277, 113),
}


class KernelFacts(NamedTuple):
    """What a child does to itself before it loads the program.

    Args:
        machine: as `platform.machine()` names it.
        filter: classic BPF, as seccomp(2) takes it.
        clone: number of the call that makes a process.
        seccomp: number of the call that installs the filter.
        clock_gettime: number of the call that the zygote reads real clocks with.
        clock_below: bytes before the kernel's shared page of functions that hold its clocks.
        clock_size: bytes of both together.
        cache_bytes: of the processor's largest cache.
    """

    machine: str
    filter: bytes
    clone: int
    seccomp: int
    clock_gettime: int
    clock_below: int
    clock_size: int
    cache_bytes: int


def kernel_facts() -> KernelFacts | None:
    """The facts about this machine, or None where programs cannot be confined like this."""
    name = platform.machine()
    machine = _MACHINES.get(name)
    clock = _clock_pages()
    if machine is None or clock is None:
        return None
    calls = (machine.clone, machine.seccomp, machine.clock_gettime)
    return KernelFacts(name, _filter(machine), *calls, *clock, _largest_cache())


def _largest_cache() -> int:
    """Bytes that a processor's largest cache is said to have, within reason."""
    found = [_USUAL_CACHE]
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index*/size"):
        try:
            said = file.read_text().strip()
            found.append(int(said[:-1]) << {"K": 10, "M": 20}[said[-1:]])
        except (OSError, ValueError, KeyError):
            continue
    return min(max(found), _MOST_CACHE)


def _filter(machine: _Machine) -> bytes:
    allow, deny = _step(_RETURN, _ALLOW), _step(_RETURN, _DENY)
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, machine.audit_arch, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    for numbers in _ALLOWED.values():
        steps += [_step(_EQUAL, numbers[machine.column], 0, 1), allow]
    for numbers, place, mask, values in _SOME.values():
        tests = [step for value in values for step in (_step(_EQUAL, value, 0, 1), allow)]
        within = [_step(_LOAD, _ARGUMENTS + 8 * place), _step(_AND, mask), *tests, deny]
        steps += [_step(_EQUAL, numbers[machine.column], 0, len(within)), *within]
    return b"".join([*steps, deny])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _clock_pages() -> tuple[int, int] | None:
    """Size of the kernel's clock pages, which lie right below its functions in every process."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    places = []
    for line in lines:
        span, *_, name = line.split()
        if name.startswith(("[vvar", "[vdso")):
            low, high = (int(end, 16) for end in span.split("-"))
            places.append((low, high, name))
    functions = [place for place in places if place[2] == "[vdso]"]
    if len(functions) != 1:
        return None
    start, end, _ = functions[0]
    low = min(place[0] for place in places)
    return start - low, end - low
