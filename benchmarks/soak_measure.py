"""What a long life is measured by: memory, processor time, files, and the ledger's own work."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datasites.errors import LedgerError
from datasites.merchant import Ledger
from datasites.protocol import Phase
from datasites.syftbox.store import ObjectStore

__all__ = [
    "LedgerCost",
    "ProcessState",
    "TreeSize",
    "counted_requests",
    "ledger_cost",
    "process_state",
    "shortest",
    "tree_size",
]

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUESTS = ("put", "get", "files", "folders", "delete")


@dataclass(frozen=True)
class ProcessState:
    """One process now: memory in MB, seconds of processor time, open files, bytes written."""

    rss_mb: float
    peak_mb: float
    cpu_seconds: float
    open_files: int
    written: int


@dataclass(frozen=True)
class TreeSize:
    """What lies below a folder."""

    files: int
    bytes: int


@dataclass(frozen=True)
class LedgerCost:
    """Milliseconds of processor time that a ledger of this size takes."""

    entries: int
    bytes: int
    open_ms: float  # verified from its first entry on
    reserve_ms: float
    commit_ms: float


def process_state(pid: int) -> ProcessState:
    """A process as /proc shows it; its children are not in it."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    written = dict(line.split(": ") for line in (proc / "io").read_text().splitlines())
    return ProcessState(
        rss_mb=int(status["VmRSS"].split()[0]) / 1024,
        peak_mb=int(status["VmHWM"].split()[0]) / 1024,
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        open_files=len(os.listdir(proc / "fd")),
        # What was deleted before it reached the disk, such as a database's shared memory, is not.
        written=int(written["write_bytes"]) - int(written["cancelled_write_bytes"]),
    )


def tree_size(folder: Path) -> TreeSize:
    """Files and bytes below a folder that others may be changing."""
    files = size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(root, name)).st_size
                files += 1
            except FileNotFoundError:
                continue
    return TreeSize(files, size)


def shortest(seconds: Sequence[float], slots: int) -> float:
    """How long these computations take at best on so many turns, longest first.

    Merchants on one machine take turns for heavy work, so the slowest alone would not do.
    """
    turns = [0.0] * max(1, slots)
    for one in sorted(seconds, reverse=True):
        turns[turns.index(min(turns))] += one
    return max(turns)


def ledger_cost(path: Path, study: str, phase: Phase | None) -> LedgerCost:
    """Time a ledger's operations on a copy; `phase` is one that has not run yet, None leaves it.

    Raises LedgerError if the copy does not verify: its owner may have written meanwhile, so a copy
    is made three times before that is believed.
    """
    for attempt in range(3):
        with tempfile.TemporaryDirectory(prefix="toyfed-soak-") as folder:
            copy = Path(folder) / path.name
            for file in path.parent.glob(f"{path.stem}.*"):
                shutil.copyfile(file, copy.with_name(file.name))
            try:
                return _ledger_cost(copy, study, phase)
            except LedgerError:
                if attempt == 2:
                    raise
                time.sleep(0.2)
    raise AssertionError("unreachable")


def _ledger_cost(path: Path, study: str, phase: Phase | None) -> LedgerCost:
    open_ms = _milliseconds(lambda: Ledger.open(path))
    ledger = Ledger.open(path)
    reserve_ms = commit_ms = 0.0
    if phase is not None:
        events, facts = phase.privacy_events(), {"arrays": {}, "sha256": "0" * 64, "bytes": 0}
        reserve_ms = _milliseconds(lambda: ledger.reserve(study, "probe", phase.name, events))
        commit_ms = _milliseconds(lambda: ledger.commit("probe", facts))
    return LedgerCost(len(ledger.entries()), path.stat().st_size, open_ms, reserve_ms, commit_ms)


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


@contextmanager
def counted_requests() -> Iterator[dict[str, int]]:
    """Count what this process asks of shares inside the block, by kind of request."""
    counts = dict.fromkeys(_REQUESTS, 0)
    kept = {name: getattr(ObjectStore, name) for name in _REQUESTS}

    def counting(name: str) -> Callable[..., object]:
        def request(*arguments: object, **options: object) -> object:
            counts[name] += 1
            return kept[name](*arguments, **options)

        return request

    for name in _REQUESTS:
        setattr(ObjectStore, name, counting(name))
    try:
        yield counts
    finally:
        for name, original in kept.items():
            setattr(ObjectStore, name, original)
