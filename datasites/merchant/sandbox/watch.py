"""Measures a run from outside and says when it has gone beyond a limit."""

from __future__ import annotations

import os
from dataclasses import dataclass

from datasites.merchant.sandbox.outcome import Ending, Limits

__all__ = ["Breach", "Watch"]

MAX_FILES = 10_000
_MEGABYTE = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Breach:
    """A limit that was passed: which, and in plain words."""

    ending: Ending
    reason: str


@dataclass(frozen=True)
class _Process:
    parent: int
    session: int
    threads: int
    seconds: float


class Watch:
    """Reads processes, memory and disk use of one run through folders that it opened itself.

    Args:
        limits: What is allowed.
        folders: Open folders: the run's /proc, its outputs, and further folders it may write in.
        leader: None when /proc lists the run's processes alone; otherwise the first process's id,
            and its descendants and session are the run.
    """

    def __init__(self, limits: Limits, folders: list[int], leader: int | None) -> None:
        self._limits = limits
        self._proc, self._output, *self._scratch = folders
        self._leader = leader
        self.peak_mb = 0.0
        self.cpu_seconds = 0.0

    def breach(self, seconds: float) -> Breach | None:
        """Measure once; return the first limit that is passed, if any.

        Args:
            seconds: Time by the clock since the run began.
        """
        limits = self._limits
        if seconds > limits.wall_seconds:
            return Breach(Ending.TIME, f"ran longer than {limits.wall_seconds} seconds")
        pids = self.processes()
        if len(pids) > limits.processes:
            return self.too_many_processes()
        threads = 0
        resident = 0
        for pid in pids:
            process = self._process(pid)
            if process is not None:
                threads += process.threads
                self.cpu_seconds = max(self.cpu_seconds, process.seconds)
                resident += self._resident(pid)
        self.peak_mb = max(self.peak_mb, resident / _MEGABYTE)
        if threads > limits.processes:
            return self.too_many_processes()
        if resident > limits.memory_mb * _MEGABYTE:
            return Breach(Ending.MEMORY, f"used more than {limits.memory_mb} MB of memory")
        return self.full_folders()

    def full_folders(self) -> Breach | None:
        """Return the breach if the run wrote more than it may."""
        isolated = self._leader is None
        used = _space(self._output) if isolated else _walk(self._output)
        if used > self._limits.output_mb * _MEGABYTE:
            reason = f"wrote more than {self._limits.output_mb} MB of outputs"
            return Breach(Ending.OUTPUT, reason)
        for folder in (self._output, *self._scratch) if isolated else ():
            facts = os.fstatvfs(folder)
            if facts.f_files - facts.f_ffree > MAX_FILES:
                return Breach(Ending.OUTPUT, f"made more than {MAX_FILES} files")
        return None

    def too_many_processes(self) -> Breach:
        """Return the breach of the limit of processes."""
        return Breach(Ending.PROCESSES, f"started more than {self._limits.processes} processes")

    def processes(self) -> list[int]:
        """Return the ids of the run's processes, by the numbering of the /proc that is watched."""
        pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        if self._leader is None:
            # Process 1 is bubblewrap's own.
            return [pid for pid in pids if pid != 1]
        family = {self._leader}
        known = {pid: process for pid in pids if (process := self._process(pid)) is not None}
        # Ids mostly grow from parent to child, so that one or two passes find all.
        grown = True
        while grown:
            more = {
                pid
                for pid, process in known.items()
                if process.parent in family or process.session == self._leader
            }
            grown = not more <= family
            family |= more
        return [pid for pid in family if pid in known]

    def _process(self, pid: int) -> _Process | None:
        text = self._read(f"{pid}/stat")
        # The name, in brackets, may hold blanks and brackets of its own.
        fields = text.rpartition(")")[2].split()
        if len(fields) < 18:
            return None
        return _Process(
            parent=int(fields[1]),
            session=int(fields[3]),
            threads=int(fields[17]),
            seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        )

    def _resident(self, pid: int) -> int:
        fields = self._read(f"{pid}/statm").split()
        return int(fields[1]) * _PAGE if len(fields) > 1 else 0

    def _read(self, path: str) -> str:
        try:
            handle = os.open(path, os.O_RDONLY, dir_fd=self._proc)
        except OSError:
            return ""  # ended since it was listed
        try:
            return os.read(handle, 4096).decode(errors="replace")
        except OSError:
            return ""
        finally:
            os.close(handle)


def _space(folder: int) -> int:
    facts = os.fstatvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def _walk(folder: int) -> int:
    total = 0
    for _root, _folders, files, handle in os.fwalk(dir_fd=folder, follow_symlinks=False):
        for name in files:
            try:
                total += os.stat(name, dir_fd=handle, follow_symlinks=False).st_size
            except OSError:
                continue  # deleted since it was listed
    return total
