"""Runs approved remote code once, isolated and limited."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import select
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasites.errors import ReviewError, SandboxError
from datasites.merchant.code import code_digest, read_code
from datasites.merchant.sandbox import landlock
from datasites.merchant.sandbox.cell import PROCESS_MARGIN, Cell, start_isolated, start_open
from datasites.merchant.sandbox.doctor import working_bwrap
from datasites.merchant.sandbox.interpreter import (
    Interpreter,
    find_interpreter,
    installed_package,
)
from datasites.merchant.sandbox.jail import SYSTEM_LIBRARIES, Jail
from datasites.merchant.sandbox.log import RunLog
from datasites.merchant.sandbox.outcome import Ending, Limits, RunOutcome
from datasites.merchant.sandbox.outputs import take_outputs
from datasites.merchant.sandbox.watch import Breach

__all__ = ["WORK_PREFIX", "run"]

WORK_PREFIX = "toyfed-run-"

_POLL_SECONDS = 0.02
_ASK_SECONDS = 0.25  # how often to ask whether the run is still wanted
_MEGABYTE = 1024 * 1024
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def run(
    code: Path,
    inputs: Mapping[str, Path],
    output: Path,
    log: Path,
    limits: Limits | None = None,
    python: Path | None = None,
    import_roots: Sequence[Path] | None = None,
    *,
    expected_digest: str | None = None,
    unsafe_no_sandbox: bool = False,
    cancelled: Callable[[], bool] | None = None,
    before_outputs: Callable[[], None] | None = None,
) -> RunOutcome:
    """Run `main.py` of a folder of remote code, once.

    Inside, the code sees itself at `/code`, its inputs at `$TOYFED_INPUTS/NAME` (`/inputs/NAME`,
    read-only), an empty `$TOYFED_OUTPUT` (`/output`), a private `/tmp`, and Python with its
    installed packages; no network, no other process, no other folder, no environment.

    Privacy: nothing leaves here. The outcome's reason and the log stay at the merchant.

    Args:
        code: The code's folder. What runs is a private copy of it.
        inputs: Name -> file or folder that the code may read.
        output: An empty folder, or none yet; filled only when the run is ok.
        log: Where to keep what the code printed.
        limits: What the run may use.
        python: The interpreter; the running one by default.
        import_roots: Source folders of packages that the code may import beside the installed
            ones; `recsys` by default.
        expected_digest: `code_digest` of the approved code, which the copy must have.
        unsafe_no_sandbox: Run with limits alone, for machines that have no sandbox. The code can
            then read and send whatever this user can.
        cancelled: Asked before the code starts and a few times a second; the run ends at once
            when it says yes.
        before_outputs: Called once the code has ended well, before its outputs are copied.

    Raises:
        ReviewError: The code cannot be read, has no `main.py`, or is not the approved one.
        SandboxError: No sandbox can be had here, or an input or output folder is not usable.
    """
    limits = limits or Limits()
    if platform.system() != "Linux":
        raise SandboxError("Remote code runs on Linux only: use a virtual machine or container")
    bwrap = None if unsafe_no_sandbox else working_bwrap()
    checked = {name: _checked_input(name, path) for name, path in inputs.items()}
    if import_roots is None:
        import_roots = [installed_package("recsys")]
    packages = [path.resolve(strict=True) for path in import_roots]
    _empty_folder(output)
    with contextlib.ExitStack() as stack:
        # Beside the log, not in a folder for everybody's temporary files: whoever keeps the log
        # finds and removes what is left of a run whose service was killed.
        log.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=log.parent)
        work = Path(stack.enter_context(temporary))
        copy = work / "code"
        _copy_code(code, copy, expected_digest)
        interpreter = find_interpreter(python)
        begun = time.monotonic()
        if bwrap is not None:
            jail = Jail(copy, checked, packages, interpreter, limits)
            cell = start_isolated(bwrap, jail, _settings(interpreter, limits, Path("/"), True))
        else:
            written = _open_layout(work, checked, packages)
            cell = start_open(_settings(interpreter, limits, work, False), written, limits)
        stack.callback(cell.close)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        kept = RunLog(stack.enter_context(os.fdopen(handle, "wb", buffering=0)))
        if cancelled is None or not cancelled():
            cell.go()
        breach = _follow(cell, kept, begun, cancelled or _never)
        cell.end()
        seconds = time.monotonic() - begun
        breach = breach or _judge_exit(cell, kept, limits)
        if breach is None:
            if before_outputs is not None:
                before_outputs()
            try:
                take_outputs(cell.outputs, output, limits.output_mb * _MEGABYTE)
            except SandboxError as error:
                breach = Breach(Ending.OUTPUT, str(error))
        return RunOutcome(
            ok=breach is None,
            reason=breach.reason if breach else "finished",
            seconds=seconds,
            peak_mb=cell.watch.peak_mb,
            log=log,
            ending=breach.ending if breach else Ending.FINISHED,
        )


def _never() -> bool:
    return False


def _follow(cell: Cell, kept: RunLog, begun: float, cancelled: Callable[[], bool]) -> Breach | None:
    """Read what the code prints and measure it until it ends, passes a limit or is cancelled."""
    pipes = {
        pipe.fileno(): pipe is cell.process.stderr
        for pipe in (cell.process.stdout, cell.process.stderr)
        if pipe is not None
    }
    poll = select.poll()
    for pipe in pipes:
        os.set_blocking(pipe, False)
        poll.register(pipe, select.POLLIN)
    ended = os.pidfd_open(cell.process.pid)
    try:
        poll.register(ended, select.POLLIN)
        measured = asked = 0.0
        while True:
            ready = poll.poll(_POLL_SECONDS * 1000)
            for handle, _event in ready:
                if handle in pipes and not _drain(handle, kept, pipes[handle]):
                    poll.unregister(handle)
            # A flood of printed text wakes this loop far more often than measuring is useful.
            now = time.monotonic()
            if now - asked >= _ASK_SECONDS:
                asked = now
                if cancelled():
                    return Breach(Ending.CANCELLED, "was ended because it is no longer wanted")
            if now - measured >= _POLL_SECONDS / 2:
                measured = now
                if breach := cell.watch.breach(now - begun):
                    return breach
            if any(handle == ended for handle, _event in ready):
                for pipe, errors in pipes.items():
                    _drain(pipe, kept, errors)
                return None
    finally:
        os.close(ended)


def _drain(pipe: int, kept: RunLog, errors: bool) -> bool:
    """Take what a pipe holds, at most its size at once; False when it is closed."""
    try:
        data = os.read(pipe, 65536)
    except BlockingIOError:
        return True
    kept.add(data, errors)
    return bool(data)


def _judge_exit(cell: Cell, kept: RunLog, limits: Limits) -> Breach | None:
    status = cell.process.returncode
    if status == 0:
        return cell.watch.full_folders()
    killed = status - 128 if cell.isolated and status > 128 else -status
    spent = cell.watch.cpu_seconds >= limits.cpu_seconds - 1
    if killed == signal.SIGXCPU or (killed == signal.SIGKILL and spent):
        reason = f"used more than {limits.cpu_seconds} seconds of processor time"
        return Breach(Ending.PROCESSOR, reason)
    if full := cell.watch.full_folders():
        return full
    line = kept.last_error()
    # What the limits of the kernel, below the watcher's, look like from inside Python.
    if "MemoryError" in line or "Cannot allocate memory" in line:
        return Breach(Ending.MEMORY, f"used more than {limits.memory_mb} MB of memory")
    if "Resource temporarily unavailable" in line or "can't start new thread" in line:
        return cell.watch.too_many_processes()
    if killed > 0:
        return Breach(Ending.FAILED, f"was ended by signal {killed} ({_signal_name(killed)})")
    return Breach(Ending.FAILED, f"exited with status {status}: {line or 'no error was printed'}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _settings(
    interpreter: Interpreter, limits: Limits, root: Path, isolated: bool
) -> dict[str, Any]:
    rlimits = {
        # Address space is larger than memory in use: libraries are mapped, not loaded.
        "RLIMIT_AS": (limits.memory_mb + 2048) * _MEGABYTE,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_FSIZE": (max(limits.output_mb, limits.tmp_mb) + 1) * _MEGABYTE,
        "RLIMIT_CORE": 0,
    }
    if isolated and _counts_by_namespace():
        rlimits["RLIMIT_NPROC"] = limits.processes + PROCESS_MARGIN
    environment = {
        "PATH": str(interpreter.executable.parent),
        "HOME": str(root / "tmp"),
        "TMPDIR": str(root / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(root / "packages"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TOYFED_INPUTS": str(root / "inputs"),
        "TOYFED_OUTPUT": str(root / "output"),
    }
    for threads in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
        environment[f"{threads}_NUM_THREADS"] = "1"
    return {
        "landlock": _landlock(interpreter, root),
        "rlimits": rlimits,
        "code": str(root / "code"),
        "python": str(interpreter.executable),
        "environment": environment,
    }


def _landlock(interpreter: Interpreter, root: Path) -> dict[str, Any] | None:
    """What may be touched inside; without a sandbox, mounts do not narrow it any further."""
    readable = [
        *map(str, interpreter.paths),
        *SYSTEM_LIBRARIES,
        *("/etc/passwd", "/etc/ld.so.cache"),
        # The first process's own facts; not its mounts, whose list names folders of the host.
        *(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "filesystems")),
        *(f"/proc/self/{name}" for name in ("cmdline", "fd", "maps", "stat", "statm", "status")),
        *(str(root / name) for name in ("code", "inputs", "packages")),
    ]
    writable = [str(root / "output"), str(root / "tmp"), "/dev/shm"]  # noqa: S108
    return landlock.rules(readable, writable)


def _counts_by_namespace() -> bool:
    """Tell whether the kernel counts processes by namespace; before 5.14 it counts the user's."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and tuple(map(int, version.groups())) >= (5, 14)


def _open_layout(work: Path, inputs: Mapping[str, Path], packages: Sequence[Path]) -> Path:
    for name in ("inputs", "output", "packages", "tmp"):
        (work / name).mkdir()
    for name, path in inputs.items():
        (work / "inputs" / name).symlink_to(path)
    for path in packages:
        (work / "packages" / path.name).symlink_to(path)
    return work / "output"


def _copy_code(code: Path, copy: Path, expected_digest: str | None) -> None:
    files = read_code(code)
    if "main.py" not in files:
        raise ReviewError("Expected the code to have a main.py, found none")
    for path, data in files.items():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    # Of the copy, which is what runs; the folder it came from may change at any time.
    if expected_digest is not None and code_digest(copy) != expected_digest:
        raise ReviewError(
            "Expected the code that was approved, found other code; ask for a new approval"
        )


def _checked_input(name: str, path: Path) -> Path:
    if not _PLAIN_NAME.fullmatch(name):
        raise SandboxError(f"Expected a plain name for an input, found {name[:80]!a}")
    try:
        return Path(path).resolve(strict=True)
    except OSError:
        raise SandboxError(f"Expected the input {name} to exist, found nothing") from None


def _empty_folder(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise SandboxError("Expected an empty folder for outputs, found files in it")
