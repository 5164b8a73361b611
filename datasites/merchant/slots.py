"""Turns for heavy work: several datasites on one machine do not compute all at once.

Memory, not time, is the reason: each computation may take hundreds of megabytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from datasites.errors import SandboxError, SettingsError
from datasites.private import private_folder

__all__ = ["heavy_work"]


@contextlib.contextmanager
def heavy_work(
    slots: int | None = None, cancelled: Callable[[], bool] | None = None
) -> Iterator[None]:
    """Wait for one of `slots` turns (default: one per core) shared by this user's processes.

    A turn is an advisory lock, so it ends with its process, however that dies. Where no folder for
    the locks can be had, nobody waits: turns save memory, and must not be a reason to fail.

    Raises SandboxError where `cancelled` says meanwhile that the work is not wanted any more.
    """
    wanted = slots or os.cpu_count() or 1
    folder = _folder()
    while folder is not None:
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
        if cancelled is not None and cancelled():
            raise SandboxError("was ended because it is no longer wanted")
        time.sleep(0.05)
    yield


def _folder() -> Path | None:
    """A folder that only this user can enter: whoever else could, would hold all turns."""
    name = f"toyfed-slots-{os.getuid()}"
    for where in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), Path.home() / ".cache"):
        if where:
            with contextlib.suppress(SettingsError, OSError):
                return private_folder(Path(where) / name)
    return None
