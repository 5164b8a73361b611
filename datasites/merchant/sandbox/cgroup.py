"""A hard limit of processes by a control group, where this user may make one.

The kernel's other limit of processes does not bind the administrator, so a service that runs as
root would otherwise rely on the watcher alone, which looks every few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

__all__ = ["Cgroup", "sweep_groups"]

_MOUNT = Path("/sys/fs/cgroup")
_PREFIX = "toyfed-run-"


class Cgroup:
    """One run's control group; removed by `close` when its processes are gone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def make(cls, processes: int) -> Cgroup | None:
        """Make a group of at most so many processes and threads; None where that is not allowed."""
        parent = _parent()
        if parent is None:
            return None
        _sweep(parent)
        folder = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
        except OSError:
            return None
        group = cls(folder)
        try:
            (folder / "pids.max").write_text(str(processes))
        except OSError:
            group.close()
            return None
        return group

    def take(self, first: int) -> None:
        """Move a process and its children into the group; what they start later is in it too."""
        children = ""
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{first}/task/{first}/children").read_text()
        for pid in [first, *map(int, children.split())]:
            with contextlib.suppress(OSError):
                (self._folder / "cgroup.procs").write_text(str(pid))

    def members(self) -> list[int]:
        """Return the processes in the group."""
        with contextlib.suppress(OSError):
            return [int(line) for line in (self._folder / "cgroup.procs").read_text().split()]
        return []

    def close(self) -> None:
        """Remove the group."""
        # The kernel lets go of ended processes a moment after it has reported their end.
        for _ in range(50):
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def _parent() -> Path | None:
    """Return the folder to make groups of limited processes in, nearest to our own group."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        if "pids" in controllers.split(","):
            folder = _MOUNT / "pids" / own
            return folder if (folder / "cgroup.procs").exists() else None
        if number == "0":
            folder = _MOUNT / own
            for place in (folder, *folder.parents):
                if not place.is_relative_to(_MOUNT):
                    break
                with contextlib.suppress(OSError):
                    if "pids" in (place / "cgroup.subtree_control").read_text().split():
                        return place
    return None


def sweep_groups() -> None:
    """Remove the groups of callers that were killed, once their last processes are gone."""
    parent = _parent()
    if parent is not None:
        _sweep(parent)


def _sweep(parent: Path) -> None:
    """Remove the groups of callers that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
