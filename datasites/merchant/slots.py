"""Turns for heavy work: several datasites on one machine do not compute all at once.

Memory, not time, is the reason: each computation may take hundreds of megabytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["heavy_work"]


@contextlib.contextmanager
def heavy_work(slots: int | None = None) -> Iterator[None]:
    """Wait for one of `slots` turns (default: one per core) shared by this user's processes.

    A turn is an advisory lock, so it ends with its process, however that dies.
    """
    wanted = slots or os.cpu_count() or 1
    folder = Path(tempfile.gettempdir()) / f"toyfed-slots-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for number in range(wanted):
            descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield
            finally:
                os.close(descriptor)
            return
        time.sleep(0.05)
