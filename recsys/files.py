"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path", "atomic_write_bytes", "atomic_write_text", "sweep_leftovers"]


@contextlib.contextmanager
def atomic_path(target: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces `target`, on error it goes.

    The file is flushed to disk before the rename, so that a crash leaves the old file or the
    new one, never a half.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write_bytes(target: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `target`, whole or not at all."""
    with atomic_path(target, mode) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(target: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` (UTF-8) to `target`, whole or not at all."""
    atomic_write_bytes(target, text.encode(), mode)


def sweep_leftovers(folder: Path, pattern: str = ".*.tmp", older_than_seconds: float = 0.0) -> None:
    """Remove temporary files and folders below `folder` that a killed writer left behind.

    Whoever calls it is the only writer there, or names an age that no writer reaches.
    """
    before = time.time() - older_than_seconds
    for leftover in list(Path(folder).rglob(pattern)):
        with contextlib.suppress(OSError):
            if leftover.lstat().st_mtime > before:
                continue
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()
