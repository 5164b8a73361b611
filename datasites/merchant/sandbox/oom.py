"""Who goes first when the machine itself runs out of memory: remote code, before the merchant."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog

__all__ = ["first_to_go"]

_FILE = Path("/proc/self/oom_score_adj")
_FIRST = "1000"
_one_at_a_time = threading.Lock()

log = structlog.get_logger()


@contextlib.contextmanager
def first_to_go() -> Iterator[None]:
    """What is started inside is ended by the kernel before anything else (and so are its children).

    The limits of a run say what it may use, not what the machine has left. This process is marked
    for the moment in which it starts another, because some of those cannot be reached later.
    """
    with _one_at_a_time:
        try:
            before = _FILE.read_text()
            _FILE.write_text(_FIRST)
        except OSError:
            before = ""  # no such file here: the kernel chooses as it likes
        try:
            yield
        finally:
            if before:
                _put_back(before)


def _put_back(before: str) -> None:
    try:
        _FILE.write_text(before)
    except OSError:
        log.warning("this process stays marked as the first to go when memory runs out")
