"""Runs a program for one shopper at a time: the only thing that starts inside the sandbox.

This file is ToyFed's own and runs alone, without the package around it. It loads numpy and the
public state. Then, for every shopper:

    pristine process  --copies itself-->  the next pristine process, which waits for the next word
          |
          takes the shopper's page, makes a child for the program, times it, and ends

Only a process that was copied *before* it met a shopper goes on. So whatever is learnt of one (how
long her child took, how it ended, which number it had) is in memory that nobody inherits. The
program's first line runs in the child.

The child is process 1 of a namespace of its own, has no open file, no right, no way to write, to
signal, to start anything or to read a clock, and dies with its answer.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import importlib
import io
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
import traceback
import types
from typing import Any, NoReturn

import numpy as np

CODE, INPUTS = "/code", "/inputs"
_PRELOADED = {"numpy", "scipy", "recsys", "sklearn"} | set(sys.stdlib_module_names)
_HEAD, _OUT, _PART = struct.Struct("<QQ"), struct.Struct("<IIQQ"), struct.Struct("<BQ")
_ROW, _ERROR, _MOST_TEXT = 1, 2, 4000
_NEW_PIDS = 0x20000000
_DUMPABLE, _NO_NEW_PRIVS, _TSC, _AMBIENT, _DEATH = 4, 38, 26, 47, 1
_VDSO = 33
_PROCESS_CLOCK, _MONOTONIC = 2, 1

# The interpreter's lock stays held, so that a child made by a bare call wakes up holding it.
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.getauxval.restype = ctypes.c_ulong
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

_PAGE = 4096
# What answers instead of the kernel's functions: zeros where the time is wanted, 0 for `time`, and
# "no such function" for all others, upon which the C library makes the system call.
_STUBS = {
    "x86_64": {
        "": bytes.fromhex("b8daffffffc3"),
        "gettimeofday": bytes.fromhex("48c7070000000048c747080000000031c0c3"),
        "clock_gettime": bytes.fromhex("48c7060000000048c746080000000031c0c3"),
        "clock_getres": bytes.fromhex("48c7060000000048c746080000000031c0c3"),
        "time": bytes.fromhex("31c0c3"),
    },
    "aarch64": {
        "": struct.pack("<2I", 0x128004A0, 0xD65F03C0),
        "gettimeofday": struct.pack("<4I", 0xF900001F, 0xF900041F, 0x52800000, 0xD65F03C0),
        "clock_gettime": struct.pack("<4I", 0xF900003F, 0xF900043F, 0x52800000, 0xD65F03C0),
        "clock_getres": struct.pack("<4I", 0xF900003F, 0xF900043F, 0x52800000, 0xD65F03C0),
    },
}


class Program:
    """What is loaded before any shopper is seen: compiled text, public state, settings."""

    def __init__(self) -> None:
        with open(f"{INPUTS}/job.json", encoding="utf-8") as file:
            self.job: dict[str, Any] = json.load(file)
        self.state = _read_state()
        self.arrays = [(name, tuple(shape)) for name, shape in self.job["arrays"]]
        steps = bytes.fromhex(self.job["kernel"]["filter"])
        self._steps = ctypes.create_string_buffer(steps, len(steps))
        self.filter = struct.pack("@HP", len(steps) // 8, ctypes.addressof(self._steps))
        self.code: Any = None
        self.problem = ""
        try:
            with open(f"{CODE}/main.py", encoding="utf-8") as file:
                text = file.read()
            self.code = compile(text, "main.py", "exec", dont_inherit=True)
            _preload(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.problem = f"{type(error).__name__}: {error}"


def _warm_up() -> None:
    """Use what programs use, once: numpy loads and sets up much of itself at its first use."""
    some = np.arange(6.0).reshape(3, 2)
    np.unique(np.array([2, 1, 1], np.int32), return_inverse=True, return_counts=True)
    np.unique(np.array([2, 1, 1], np.int32))
    np.bincount(np.array([0, 1]))
    np.linalg.norm(some @ some.T, axis=1)
    np.random.default_rng(0).standard_normal(2)
    encode({"a": some, "b": ([2, 0, 2], some)}, [("a", (3, 2)), ("b", (3, 2))])
    io.StringIO().write("".join(traceback.format_exception_only(ValueError, ValueError())))


def _read_state() -> dict[str, np.ndarray]:
    path = f"{INPUTS}/state.safetensors"
    if not os.path.exists(path):
        return {}
    from safetensors.numpy import load_file

    state = load_file(path)
    for array in state.values():
        array.flags.writeable = False
    return state


def _preload(text: str) -> None:
    """Import the installed packages that the program names, once instead of for every shopper."""
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] in _PRELOADED:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def main() -> None:
    """Answer the trusted side until it closes the channels: words, and pages with their answers."""
    sys.path.append("/packages")
    words, pages = (socket.socket(fileno=int(one)) for one in sys.argv[1:3])
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    program = Program()
    _warm_up()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _stop_clocks(program.job["kernel"])
    gc.collect()
    gc.freeze()
    gc.disable()
    # The sandbox lives as long as the process that it was started with: this one, which waits.
    clone = ctypes.c_long(program.job["kernel"]["clone"])
    if _copy(clone, 0) != 0:
        words.close()
        pages.close()
        while True:
            signal.pause()
    pages.send(b"r")
    # From here on a pristine process does nothing but wait for a word, always the same one, and
    # copy itself. What it does is the same for every shopper, and so is its memory.
    while words.recv(1):
        if _copy(clone, 0) != 0:
            _serve(program, pages, clone)


def _copy(clone: ctypes.c_long, flags: int) -> int:
    """Make a copy of this process: 0 in the copy. Past Python, whose own way to do it counts."""
    found: int = libc.syscall(clone, ctypes.c_long(flags), *(ctypes.c_long(0),) * 4)
    return found


def _serve(program: Program, pages: socket.socket, clone: ctypes.c_long) -> NoReturn:
    """See one shopper's child from its page to its end, and end with it."""
    try:
        _, handles, _, _ = socket.recv_fds(pages, 1, 1)
        pid = _copy(clone, _NEW_PIDS | signal.SIGCHLD)
        if pid == 0:
            _child(program, handles[0])
        if pid > 0:
            _await(pid, program.job)
        pages.send(b"d" if pid > 0 else b"x")
    finally:
        os._exit(0)


def _await(pid: int, job: dict[str, Any]) -> None:
    """Wait for a child's end, and bring it about when its time is over.

    Processor time is what counts, so that other work on this machine takes no row away; it is
    looked at from here, because process 1 of a namespace is spared the signals of its own timers.
    """
    limits, kernel = job["limits"], job["kernel"]
    used, end = 0.0, _real_clock(kernel, _MONOTONIC) + limits["wall_seconds"]
    while (left := limits["cpu_seconds"] - used) > 0 and _real_clock(kernel, _MONOTONIC) < end:
        # Reported by the kernel when all that the child may have started is gone too.
        if signal.sigtimedwait({signal.SIGCHLD}, left + 0.001) is not None:
            break
        used = _real_clock(kernel, ((~pid) << 3) | _PROCESS_CLOCK)
    else:
        os.kill(pid, signal.SIGKILL)
        signal.sigwait({signal.SIGCHLD})
    os.waitpid(pid, 0)


def _stop_clocks(kernel: dict[str, Any]) -> None:
    """Make every clock stand at zero, here and in all children.

    The processor's counter is closed, the kernel's pages of time go, and the functions that read
    them jump to others that answer 0. They cannot just go: Python itself asks them for the time.
    """
    if libc.prctl(_TSC, 2, 0, 0, 0) != 0:
        raise SystemExit("expected a kernel that can close the processor's clock, found none")
    base, below = libc.getauxval(_VDSO), kernel["clock_below"]
    size = kernel["clock_size"] - below
    text = bytearray(ctypes.string_at(base, size))
    stubs, places = b"", {}
    for name, code in _STUBS[kernel["machine"]].items():
        places[name] = len(stubs)
        stubs += code.ljust(32, b"\0")
    for name, place in _functions(text).items():
        if "sigreturn" in name:
            continue
        kind = next((one for one in places if one and name.endswith(one)), "")
        offset = places[kind] - _PAGE - place
        if kernel["machine"] == "x86_64":
            text[place : place + 5] = b"\xe9" + struct.pack("<i", offset - 5)
        else:
            jump = 0x14000000 | (offset // 4 & 0x3FFFFFF)
            text[place : place + 4] = struct.pack("<I", jump)
    _must(libc.munmap(base - below, below))
    # Fixed places, anonymous and private: read and write first, then read and execute.
    for place, contents in ((base - _PAGE, stubs.ljust(_PAGE, b"\0")), (base, bytes(text))):
        if libc.mmap(place, len(contents), 3, 0x32, -1, 0) != place:
            raise SystemExit("expected to put other functions in the clocks' place, could not")
        ctypes.memmove(place, contents, len(contents))
        _must(libc.mprotect(place, len(contents), 5))
    if time.monotonic() != 0 or time.time() != 0:
        raise SystemExit("expected clocks that stand still, found one that does not")


def _functions(text: bytearray) -> dict[str, int]:
    """Name -> offset of what the kernel's shared object offers."""
    start = struct.unpack_from("<Q", text, 32)[0]
    size, count = struct.unpack_from("<HH", text, 54)
    tables: dict[int, int] = {}
    for number in range(count):
        kind, _, _, address = struct.unpack_from("<IIQQ", text, start + number * size)
        while kind == 2:
            tag, value = struct.unpack_from("<QQ", text, address)
            tables[tag] = value
            address += 16
            if tag == 0:
                break
    names, entries = tables[5], tables[6]
    found = {}
    for entry in range(entries, names - 23, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", text, entry)
        if section and value:
            found[bytes(text[names + name : text.index(0, names + name)]).decode()] = value
    return found


def _real_clock(kernel: dict[str, Any], which: int) -> float:
    """Seconds by one of the kernel's clocks, asked past the functions that stand still."""
    found = (ctypes.c_long * 2)()
    call = ctypes.c_long(kernel["clock_gettime"])
    _must(libc.syscall(call, ctypes.c_long(which), found))
    return float(found[0] + found[1] / 1e9)


def _child(program: Program, handle: int) -> NoReturn:
    """Take one history, give up everything else, run the program, leave a row, end."""
    status = 1
    try:
        page = mmap.mmap(handle, 0)
        n, wanted = _HEAD.unpack_from(page, 0)
        history = np.frombuffer(page, "<i4", n, _HEAD.size).copy()
        out = _HEAD.size + 4 * n
        printed = io.StringIO()
        sys.stdin = None  # type: ignore[assignment,unused-ignore]
        sys.stdout = sys.stderr = printed
        _confine(program)
        try:
            row = _row(program, history) if wanted else _loaded(program)
            _leave(page, out, _ROW, row, printed.getvalue())
        except BaseException as error:
            lines = traceback.format_exception_only(type(error), error)
            place = [one for one in traceback.extract_tb(error.__traceback__) if one.lineno]
            where = f" (line {place[-1].lineno} of {place[-1].filename})" if place else ""
            _leave(page, out, _ERROR, b"", "".join(lines).strip() + where)
        status = 0
    finally:
        os._exit(status)


def _confine(program: Program) -> None:
    """Close every door; any that does not close ends the child before the program is loaded."""
    os.closerange(0, 1 << 12)
    limits, kernel = program.job["limits"], program.job["kernel"]
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_CPU, limits["whole_cpu_seconds"]),
    ):
        resource.setrlimit(kind, (most, most))
    _must(libc.prctl(_DEATH, signal.SIGKILL, 0, 0, 0))
    _must(libc.prctl(_AMBIENT, 4, 0, 0, 0))
    head, none = struct.pack("=Ii", 0x20080522, 0), b"\0" * 24
    _must(libc.capset(head, none))
    _must(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    call, filter_mode, none_more = map(ctypes.c_long, (kernel["seccomp"], 1, 0))
    _must(libc.syscall(call, filter_mode, none_more, program.filter))


def _must(done: int) -> None:
    if done != 0:
        raise OSError(ctypes.get_errno(), "a door of the sandbox did not close")


def _loaded(program: Program) -> bytes:
    if program.problem:
        raise ImportError(program.problem)
    sys.path.append(CODE)
    module = types.ModuleType("main")
    sys.modules["main"] = module
    exec(program.code, module.__dict__)  # noqa: S102 - confined above
    if not callable(getattr(module, "contribution", None)):
        raise ImportError("expected main.py to define contribution(history, state, settings)")
    return b""


def _row(program: Program, history: np.ndarray) -> bytes:
    _loaded(program)
    settings = {
        **program.job["program"],
        "phase": program.job["phase"],
        "n_items": program.job["n_items"],
    }
    found = sys.modules["main"].contribution(history, dict(program.state), settings)
    return encode(found, program.arrays)


def encode(found: Any, arrays: list[tuple[str, tuple[int, ...]]]) -> bytes:
    """A row's bytes; arrays that are left out are zeros. Raises ValueError on an odd one."""
    if not isinstance(found, dict) or set(found) - {name for name, _ in arrays}:
        raise ValueError(
            f"expected a dictionary of {', '.join(name for name, _ in arrays)}, found "
            f"{sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__}"
        )
    return b"".join(_part(name, shape, found.get(name, ([], []))) for name, shape in arrays)


def _part(name: str, shape: tuple[int, ...], value: Any) -> bytes:
    inner = int(np.prod(shape[1:], dtype=np.int64))
    if not isinstance(value, tuple):
        dense = np.asarray(value, dtype="<f8")
        if dense.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, found {dense.shape}")
        return _PART.pack(0, dense.size) + dense.tobytes()
    indices, values = value
    where = np.asarray(indices, dtype="<i8").ravel()
    rows = np.asarray(values, dtype="<f8")
    if rows.size != len(where) * inner:
        raise ValueError(
            f"expected {name} as {len(where)} indices with values of shape "
            f"{(len(where), *shape[1:])}, found {rows.shape}"
        )
    if len(where) and (where.min() < 0 or where.max() >= shape[0]):
        raise ValueError(f"expected indices of {name} from 0 to {shape[0] - 1}, found others")
    once, place = np.unique(where, return_inverse=True)
    summed = np.zeros((len(once), inner))
    np.add.at(summed, place, rows.reshape(len(where), inner))
    return _PART.pack(1, len(once)) + once.astype("<i8").tobytes() + summed.tobytes()


def _leave(page: mmap.mmap, out: int, status: int, row: bytes, text: str) -> None:
    said = text.encode(errors="replace")[:_MOST_TEXT]
    place = out + _OUT.size
    page[place : place + len(row)] = row
    page[place + len(row) : place + len(row) + len(said)] = said
    page[out:place] = _OUT.pack(status, 0, len(row), len(said))


if __name__ == "__main__":
    main()
