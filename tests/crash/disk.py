"""A disk of a few megabytes of its own, that fills or turns read-only when it is told to."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SmallDisk", "small_disk"]

_PAGE = b"x" * 4096


class SmallDisk:
    """A tmpfs; whether it is `stuck` can be changed while files on it are read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "somebody-elses-film"

    def fill(self) -> None:
        """Leave no room at all."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as film:
            while True:
                film.write(_PAGE)

    def make_room(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)

    def lock(self) -> None:
        """Let nothing be written."""
        _mount("-o", "remount,ro", str(self.root))

    def unlock(self) -> None:
        """Let it be written again."""
        _mount("-o", "remount,rw", str(self.root))


@contextlib.contextmanager
def small_disk(root: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one at `root`. Raises OSError where this user may not mount."""
    root.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        raise PermissionError("only root mounts a disk")
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "toyfed-test", str(root))
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True, capture_output=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())
