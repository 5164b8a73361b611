"""What happened in a study, kept for whoever watches: one line of JSON an event, in the folder.

The coordinator runs in one process and is watched from others (a page, a second terminal). What
it tells is post-processing of what merchants released or of what they answered: free.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Moment", "Progress", "read_journal", "recorded", "running_pid"]

_FILE, _LOCK = "progress.jsonl", "run.lock"
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Progress:
    """One thing that happened, for people to watch: nothing in it depends on shoppers."""

    what: str  # "phase", "answer", "dropped", "merged", "model", "delivered", "away", "back"
    phase: str = ""
    merchant: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Moment:
    """One event of a study and when it happened."""

    at: datetime
    progress: Progress


def recorded(folder: Path, events: Iterable[Progress]) -> Iterator[Progress]:
    """Pass events on, writing each down first.

    A disk that is full costs the record, not the study.
    """
    for event in events:
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **vars(event)}
        with contextlib.suppress(OSError), (folder / _FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        yield event


def read_journal(folder: Path) -> list[Moment]:
    """Every event so far, oldest first; lines that a crash cut short are left out."""
    try:
        with (folder / _FILE).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            row = json.loads(line)
            at = datetime.fromisoformat(row.pop("at"))
            found.append(Moment(at, Progress(**row)))
    return found


def running_pid(folder: Path) -> int | None:
    """The process that runs this study now; None if nobody does.

    Read from the kernel's list: asking for the lock itself could turn a starting run away.
    """
    try:
        inode = str((folder / _LOCK).stat().st_ino)
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == inode:
            return int(words[4])
    return None
