"""Room on the disk that a run is sure of: taken before its budget is spent, given back in steps.

    runs/JOB/room-start    freed when the run begins: for the copy of the code that runs
    runs/JOB/room-outputs  freed when the code has ended: for what it wrote
    runs/JOB/room-note     freed when the run has ended: for when it may be answered
    runs/JOB/room-release  freed when the release is about to be kept

A disk that fills while the code runs would else lose a release that is already paid for.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["free_room", "note_room", "outputs_room", "start_room", "take_room"]

_START, _OUTPUTS, _NOTE, _RELEASE = "room-start", "room-outputs", "room-note", "room-release"
_MEGABYTE = 1024 * 1024
_START_BYTES = 4 * _MEGABYTE  # code is at most half of that
_NOTE_BYTES = 64 * 1024
_MARGIN = _MEGABYTE  # headers, outcome.json, and what a file system needs for itself


def take_room(folder: Path, release_bytes: int) -> None:
    """Hold enough of the disk for a run whose release has so many bytes.

    Raises: OSError if there is not so much; then nothing is held.
    """
    try:
        _hold(folder / _START, _START_BYTES)
        _hold(folder / _NOTE, _NOTE_BYTES)
        # Outputs and the release encoded from them lie beside each other for a moment.
        for name in (_OUTPUTS, _RELEASE):
            _hold(folder / name, release_bytes + _MARGIN)
    except BaseException:
        free_room(folder)
        raise


def outputs_room(folder: Path) -> None:
    """Give back what was held for the code's outputs, just before it is needed."""
    (folder / _OUTPUTS).unlink(missing_ok=True)


def start_room(folder: Path) -> None:
    """Give back what was held for the beginning of a run, just before it is needed."""
    (folder / _START).unlink(missing_ok=True)


def note_room(folder: Path) -> None:
    """Give back what was held for a note, just before it is needed."""
    (folder / _NOTE).unlink(missing_ok=True)


def free_room(folder: Path) -> None:
    """Give back all that is held."""
    for name in (_START, _OUTPUTS, _NOTE, _RELEASE):
        (folder / name).unlink(missing_ok=True)


def _hold(file: Path, size: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)
