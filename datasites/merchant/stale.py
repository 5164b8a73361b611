"""Whether what the pages serve was learned from purchases that are no longer here.

    serving/stale           from the moment in which purchases go, until a fit has seen what is left
    serving/current.json    names the very purchases that it was fitted on: an older one that is put
                            back from a copy is not served either

While that is so nothing is served. Fitting again releases nothing and needs no new model.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from datasites.merchant.home import MerchantHome
from datasites.protocol import safe_name
from recsys.files import atomic_write_text, sweep_leftovers

__all__ = [
    "BUNDLE_FORMAT",
    "HANDED_OVER",
    "data_turn",
    "has_open_shop",
    "is_stale",
    "mark_stale",
    "purchases_digest",
    "purchases_stamp",
    "stale_study",
    "sweep_copies",
    "take_mark_away",
    "turn",
]

BUNDLE_FORMAT = 3
"""Of a serving bundle; older ones lack what may be shown to anybody, and are made anew."""

Stamp = tuple[int, int, int]

HANDED_OVER = ".handed-over-"
"""Beginning of the names of folders for files that were handed over on the page."""
_LOOKED_AT_SECONDS = 3600.0

_LOCK, _MARK = "data.lock", "stale"
_digests: dict[Path, tuple[Stamp, str]] = {}


@contextlib.contextmanager
def turn(home: MerchantHome, name: str, *, wait: bool = True) -> Iterator[bool]:
    """What only one process of this datasite does at a time; False if it is another's turn."""
    handle = os.open(home.private / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        yield False
        return
    try:
        yield True
    finally:
        os.close(handle)


@contextlib.contextmanager
def data_turn(home: MerchantHome) -> Iterator[None]:
    """Whoever changes the purchases, or what was learned from them, does it alone."""
    with turn(home, _LOCK):
        yield


def purchases_stamp(home: MerchantHome) -> Stamp:
    """Which file of purchases is here: it is never written in place."""
    facts = (home.data / "shop.parquet").stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def purchases_digest(home: MerchantHome) -> str:
    """SHA-256 of the file of purchases; read again only where it is another file.

    Privacy: stays at the merchant.
    Raises: FileNotFoundError without purchases.
    """
    stamp = purchases_stamp(home)
    kept = _digests.get(home.root)
    if kept is None or kept[0] != stamp:
        with (home.data / "shop.parquet").open("rb") as file:
            kept = stamp, hashlib.file_digest(file, "sha256").hexdigest()
        _digests[home.root] = kept
    return kept[1]


def mark_stale(home: MerchantHome) -> None:
    """Stop serving, and remove what was learned; called in a `data_turn` before purchases go.

    The mark comes first: a crash may leave it too early, never too late.
    """
    if (home.serving / "current.json").exists():
        atomic_write_text(home.serving / _MARK, "", mode=0o600)
    for learned in (*home.serving.glob("*.npz"), *(home.private / "quality").glob("*.npz")):
        learned.unlink(missing_ok=True)


def sweep_copies(home: MerchantHome) -> None:
    """Remove purchases that whoever was killed left half written; called in a `data_turn`.

    Such a file may hold somebody who has asked to be forgotten. Whoever writes among the data has
    the turn; a file that was handed over on the page may still be looked at for a while.
    """
    sweep_leftovers(home.data)
    sweep_leftovers(home.private, f"{HANDED_OVER}*.tmp", _LOOKED_AT_SECONDS)


def take_mark_away(home: MerchantHome) -> None:
    """Serve again; called in the `data_turn` in which a fit of the present purchases is written."""
    (home.serving / _MARK).unlink(missing_ok=True)


def is_stale(home: MerchantHome) -> bool:
    """Whether nothing may be served until the blend was fitted again."""
    return stale_study(home) is not None


def has_open_shop(home: MerchantHome) -> bool:
    """Whether lists are served now."""
    return (home.serving / "current.json").exists() and not is_stale(home)


def stale_study(home: MerchantHome) -> str | None:
    """The study whose blend has to be fitted again; None if none has."""
    try:
        facts = json.loads((home.serving / "current.json").read_bytes())
        study = safe_name(str(facts["study"]))
        good = (
            facts.get("format") == BUNDLE_FORMAT
            and facts["purchases"] == purchases_digest(home)
            and (home.serving / Path(facts["bundle"]).name).exists()
            and not (home.serving / _MARK).exists()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # nothing is served, or a damaged file that opening the shop tells of
    return None if good else study
