"""What a fuzz target is: one reader of bytes from outside, and what it may raise."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import ToyFedError

__all__ = ["Target", "scratch", "scratch_file"]

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        name: As `--target` takes it.
        read: Hands the bytes to the reader. Returns whatever, raises what `allowed` names.
        seeds: Valid inputs to start from, small ones.
        kind: "json", "text" or "binary": which mutations know the structure.
        words: Texts that matter to this reader, for the dictionary.
        allowed: The reader's documented errors.
        memory_mb: The most that all inputs together may add to the process's memory.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    kind: str = "binary"
    words: tuple[bytes, ...] = ()
    allowed: tuple[type[Exception], ...] = (ToyFedError,)
    memory_mb: int = 512


_FOLDER: list[tempfile.TemporaryDirectory[str]] = []


def scratch() -> Path:
    """A folder of this process for files that readers want; gone when the process ends."""
    if not _FOLDER:
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        _FOLDER.append(tempfile.TemporaryDirectory(prefix="toyfed-fuzz-", dir=place))
    return Path(_FOLDER[0].name)


@contextlib.contextmanager
def scratch_file(name: str, data: bytes) -> Iterator[Path]:
    """A file with these bytes, for as long as the reader needs it."""
    path = scratch() / name
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
