"""One started run: its process, its end, and the open folders through which it is watched."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasites.errors import SandboxError
from datasites.merchant.sandbox.cgroup import Cgroup
from datasites.merchant.sandbox.jail import WATCHED, Jail
from datasites.merchant.sandbox.oom import first_to_go
from datasites.merchant.sandbox.outcome import Limits
from datasites.merchant.sandbox.seccomp import filter_program
from datasites.merchant.sandbox.watch import Watch

__all__ = ["PROCESS_MARGIN", "Cell", "start_isolated", "start_open"]

_START_SECONDS = 60.0
_END_SECONDS = 30.0
_MAX_SWEEPS = 500
# The kernel's limits of processes lie a little above the watcher's, so that the watcher sees the
# run pass its limit, and names it.
PROCESS_MARGIN = 8
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


class Cell:
    """A run that waits for `go`; closing it ends every process of the run.

    Attributes:
        process: The started process; its two pipes are the code's output and errors.
        isolated: Whether the run has namespaces of its own.
        outputs: The open folder that the code writes its outputs in; it stays readable when the
            run, and the file system that it lay on, have gone.
        watch: Measures the run.
    """

    watch: Watch
    outputs: int

    def __init__(
        self, process: subprocess.Popen[bytes], channel: socket.socket, isolated: bool
    ) -> None:
        self.process = process
        self.isolated = isolated
        self._channel = channel
        self._folders: list[int] = []
        self._first: int | None = None
        self._group: Cgroup | None = None

    def meet(self, limits: Limits, folders: int, info: int | None) -> None:
        """Wait for the bootstrap, take its open folders and, when isolated, hold process 1.

        Args:
            limits: What to watch for.
            folders: How many open folders the bootstrap sends: /proc, the outputs, others.
            info: Pipe on which bubblewrap names process 1.

        Raises:
            SandboxError: The sandbox or the interpreter did not start.
        """
        try:
            self._channel.settimeout(_START_SECONDS)
            _, self._folders, _, _ = socket.recv_fds(self._channel, 1, folders)
            if len(self._folders) != folders:
                raise ValueError("the bootstrap ended early")
            self.outputs = self._folders[1]
            leader = None if self.isolated else self.process.pid
            self.watch = Watch(limits, self._folders, leader)
            first = self.process.pid
            if info is not None:
                first = json.loads(os.read(info, 65536))["child-pid"]
                self._first = os.pidfd_open(first)
            self._group = Cgroup.make(limits.processes + PROCESS_MARGIN)
            if self._group is not None:
                self._group.take(first)
        except (OSError, ValueError, KeyError):
            self.process.kill()
            problem = self._start_problem()
            self.close()
            raise SandboxError(problem) from None

    def go(self) -> None:
        """Let the remote code begin."""
        with contextlib.suppress(OSError):
            self._channel.send(b"g")

    def end(self) -> None:
        """Kill every process of the run and wait until all are gone.

        Raises:
            SandboxError: Some process outlived its killing.
        """
        if self._first is not None:
            # The kernel ends a namespace with its process 1, and reports the end of process 1
            # only when no other process is left.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            poll = select.poll()
            poll.register(self._first, select.POLLIN)
            if not poll.poll(_END_SECONDS * 1000):
                raise SandboxError("Expected the run to end when killed; restart this machine")
        elif not self.isolated and hasattr(self, "watch"):
            self._end_family()
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the run and let go of all that was held for it."""
        try:
            self.end()
        finally:
            self._channel.close()
            for handle in self._folders:
                os.close(handle)
            self._folders = []
            if self._first is not None:
                os.close(self._first)
                self._first = None
            if self._group is not None:
                self._group.close()
                self._group = None
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()

    def _end_family(self) -> None:
        # Again and again, for children that were born while their parents were being killed.
        for _ in range(_MAX_SWEEPS):
            family = {*self.watch.processes(), *(self._group.members() if self._group else ())}
            for pid in family:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            if not family:
                return
            time.sleep(0.01)

    def _start_problem(self) -> str:
        text = b""
        if self.process.stderr is not None:
            text = os.read(self.process.stderr.fileno(), 4096)
        lines = text.decode(errors="replace").strip().splitlines()
        detail = ascii(lines[-1][:200]) if lines else "nothing was said"
        return f"Expected the sandbox to start, it did not: {detail}. Run `toyfed doctor`"


def start_isolated(bwrap: Path, jail: Jail, settings: Mapping[str, Any]) -> Cell:
    """Start the bootstrap inside bubblewrap.

    Args:
        bwrap: The bubblewrap to use.
        jail: What exists inside.
        settings: The bootstrap's settings, without its channel and folders.

    Raises:
        SandboxError: The sandbox did not start.
    """
    with contextlib.ExitStack() as stack:
        info, info_end = os.pipe()
        stack.callback(os.close, info)
        passwd = _memory_file(stack, b"nobody:x:65534:65534:nobody:/tmp:/\n")
        words = ["--info-fd", str(info_end)]
        passed = [passwd, info_end]
        program = filter_program()
        if program is None:
            # Machines without a filter at least get no second user namespace.
            words.append("--disable-userns")
        else:
            passed.append(_memory_file(stack, program))
            words += ("--seccomp", str(passed[-1]))
        words += jail.arguments(passwd)
        # Through a file: the code can read the command line, and this names folders of the host.
        arguments = _memory_file(stack, b"".join(word.encode() + b"\0" for word in words))
        command = [str(bwrap), "--args", str(arguments), "--"]
        try:
            cell = _start(command, settings, WATCHED, [*passed, arguments])
        finally:
            os.close(info_end)
        cell.meet(jail.limits, len(WATCHED), info)
        return cell


def start_open(settings: Mapping[str, Any], output: Path, limits: Limits) -> Cell:
    """Start the bootstrap without any isolation, limits alone.

    Raises:
        SandboxError: The interpreter did not start.
    """
    folders = ("/proc", str(output))
    cell = _start([], settings, folders, [])
    cell.meet(limits, len(folders), None)
    return cell


def _start(
    command: Sequence[str], settings: Mapping[str, Any], folders: Sequence[str], passed: list[int]
) -> Cell:
    ours, theirs = socket.socketpair()
    with theirs:
        told = {**settings, "channel": theirs.fileno(), "folders": list(folders)}
        try:
            with first_to_go():
                process = subprocess.Popen(
                    [
                        *command,
                        *(settings["python"], "-I", "-S", "-c", _BOOTSTRAP.read_text()),
                        json.dumps(told),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    # Empty from the start: bubblewrap is process 1 inside, and the code can read
                    # the environment that process 1 was started with.
                    env={},
                    pass_fds=[*passed, theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise SandboxError(f"Expected to start the sandbox: {error.strerror}") from None
    return Cell(process, ours, isolated=bool(command))


def _memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
    handle = os.memfd_create("sandbox")
    stack.callback(os.close, handle)
    os.write(handle, data)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
