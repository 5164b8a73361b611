"""Runs a target on many inputs in a process of its own, which may crash, hang or eat memory."""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import select
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.mutations import Mutator
from tests.fuzz.target import MEGABYTE, Target

__all__ = ["Crash", "Report", "fuzz", "protected"]

INPUT_SECONDS = 5.0
_STUCK_SECONDS = 60.0
_ROOM = 1 << 20


@dataclass(frozen=True)
class Crash:
    """One way in which a reader failed: where, and the first input that did it."""

    what: str
    data: bytes


@dataclass
class Report:
    """What happened with one target."""

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    slowest_seconds: float = 0.0
    slowest: bytes = b""
    crashes: list[Crash] = field(default_factory=list)


class Hang(BaseException):
    """An input took too long; not an Exception, so that no reader swallows it."""


def _on_time(_number: int, _frame: FrameType | None) -> None:
    raise Hang


def fuzz(target: Target, inputs: int, seed: int, seconds: float = 0) -> Report:
    """Feed a target `inputs` inputs, starting a fresh process where one dies.

    With `seconds` it may end earlier; the report says how many inputs there were.
    """
    report = Report(target.name)
    begun = time.monotonic()
    until = begun + seconds if seconds else float("inf")
    while report.inputs < inputs and time.monotonic() < until:
        _one_process(target, inputs, seed, until, report)
    report.seconds = time.monotonic() - begun
    return report


def protected(target: Target, data: bytes) -> tuple[str, bool]:
    """Read once under a limit of processor time.

    Returns: "" if all is well, else what failed and where; and whether the input was refused.
    """
    # Processor time, not time by the clock: the machine may be busy with other things.
    signal.signal(signal.SIGPROF, _on_time)
    try:
        signal.setitimer(signal.ITIMER_PROF, INPUT_SECONDS)
        target.read(data)
    except target.allowed:
        return "", True
    except Hang:
        return f"took more than {INPUT_SECONDS:g} s of processor time", False
    except BaseException as error:
        return _signature(error), False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "", False


def _signature(error: BaseException) -> str:
    """The kind of error and the last line of our own that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/tests/fuzz/" not in frame.filename]
    named = [frame for frame in ours if "site-packages" not in frame.filename]
    where = next((f for f in reversed(named) if "/lib/python" not in f.filename), None)
    place = f"{Path(where.filename).name}:{where.lineno}" if where else "outside"
    return f"{type(error).__name__} at {place}"


def _one_process(target: Target, inputs: int, seed: int, until: float, report: Report) -> None:
    # The child writes each input here first, so that the one that killed it is known.
    board = mmap.mmap(-1, 16 + _ROOM)
    reading, writing = os.pipe()
    first = report.inputs
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        status = 1
        try:
            _child(target, range(first, inputs), seed, until, board, writing)
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(writing)
    result, killed = _await(pid, reading, board)
    done = int.from_bytes(board[:8], "big")
    if result is not None:
        report.inputs += result["done"]
        report.refused += result["refused"]
        report.peak_mb = max(report.peak_mb, result["peak_mb"])
        if result["slowest_seconds"] > report.slowest_seconds:
            report.slowest_seconds = result["slowest_seconds"]
            report.slowest = bytes.fromhex(result["slowest"])
        known = {crash.what for crash in report.crashes}
        report.crashes += [
            Crash(what, bytes.fromhex(data))
            for what, data in result["crashes"].items()
            if what not in known
        ]
        return
    size = int.from_bytes(board[8:16], "big")
    what = f"the process was killed ({killed})"
    if what not in {crash.what for crash in report.crashes}:
        report.crashes.append(Crash(what, bytes(board[16 : 16 + min(size, _ROOM)])))
    report.inputs = max(done, first) + 1


def _await(pid: int, reading: int, board: mmap.mmap) -> tuple[dict[str, Any] | None, str]:
    """Wait for the child's result; kill it where one input keeps it for too long."""
    parts: list[bytes] = []
    seen, since = b"", time.monotonic()
    why = ""
    while True:
        if select.select([reading], [], [], 0.5)[0]:
            part = os.read(reading, 65536)
            if not part:
                break
            parts.append(part)
        if board[:8] != seen:
            seen, since = board[:8], time.monotonic()
        elif time.monotonic() - since > _STUCK_SECONDS and not parts:
            os.kill(pid, signal.SIGKILL)
            why = f"no end within {_STUCK_SECONDS:g} s"
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if status == 0 and parts:
        return json.loads(b"".join(parts)), ""
    if os.WIFSIGNALED(status):
        return None, why or f"signal {os.WTERMSIG(status)}"
    return None, f"exit {os.waitstatus_to_exitcode(status)}"


def _child(
    target: Target, numbers: range, seed: int, until: float, board: mmap.mmap, writing: int
) -> None:
    quiet()
    # A process that died goes on with other inputs, not with the same ones.
    mutator = Mutator(target, seed + numbers.start)
    protected(target, target.seeds[0])  # imports what is imported on first use
    gc.freeze()
    before = _resident_mb()
    _limit_memory(target.memory_mb)
    crashes: dict[str, str] = {}
    done, refused, slowest_seconds, slowest = 0, 0, 0.0, b""
    for number in numbers:
        if time.monotonic() > until:
            break
        done += 1
        data = mutator.make(number)
        board[16 : 16 + min(len(data), _ROOM)] = data[:_ROOM]
        board[8:16] = len(data).to_bytes(8, "big")
        board[:8] = number.to_bytes(8, "big")
        begun = time.process_time()
        what, was_refused = protected(target, data)
        spent = time.process_time() - begun
        refused += was_refused
        if what:
            crashes.setdefault(what, data.hex())
        if spent > slowest_seconds:
            slowest_seconds, slowest = spent, data
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "done": done,
        "refused": refused,
        "peak_mb": max(0.0, highest - before),
        "slowest_seconds": slowest_seconds,
        "slowest": slowest.hex(),
        "crashes": crashes,
    }
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(result).encode())


def quiet() -> None:
    """Drop what libraries print about inputs; a flood of it would be slower than reading them."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    import warnings

    warnings.simplefilter("ignore")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def _limit_memory(more_mb: int) -> None:
    """Bound the address space a little above what is in use now: beyond it, MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more_mb * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
