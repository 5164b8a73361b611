"""Who goes first when the machine itself runs out of memory: remote code, before the merchant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["first_to_go"]

_FILE = Path("/proc/self/oom_score_adj")
_FIRST = "1000"


@contextlib.contextmanager
def first_to_go() -> Iterator[None]:
    """What is started inside is ended by the kernel before anything else (and so are its children).

    The limits of a run say what it may use, not what the machine has left. This process is marked
    for the moment in which it starts another, because some of those cannot be reached later.
    """
    try:
        before = _FILE.read_text()
        _FILE.write_text(_FIRST)
    except OSError:
        before = ""  # no such file here: the kernel chooses as it likes
    try:
        yield
    finally:
        if before:
            with contextlib.suppress(OSError):
                _FILE.write_text(before)
