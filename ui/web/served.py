"""Shops that are open for shoppers: opened once, and again when their files change.

The pages and the API ask for the same open shops; both live in one process.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from datasites.errors import SettingsError
from datasites.merchant.home import MerchantHome
from recsys.errors import ToyFedError

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["served_shop", "stamp_of"]

MOST_CHANGES = 5
MOST_SHOPS = 16
"""Open shops kept in memory, one version of each; the least recently used goes first."""
Stamp = tuple[tuple[str, int, int], ...]


@dataclass
class _Open:
    """An open shop, the files that it was made of, and when they were last looked at."""

    shop: ServedShop
    stamp: Stamp
    looked: float


_shops: OrderedDict[Path, _Open] = OrderedDict()
_opening: dict[Path, threading.Lock] = {}
_lock = threading.Lock()


def served_shop(home: MerchantHome, *, within: float = 0.0) -> ServedShop:
    """The shop of `home`, ready to recommend.

    While a new version of a shop opens, everybody but the first who asked gets the old one, unless
    purchases were taken out of it.

    Args:
        within: seconds; files that were looked at so shortly ago are not looked at again.

    Raises: SettingsError or ModelError with a readable text when nothing is served yet.
    Privacy: stays at the merchant; the open shops live in this process alone.
    """
    with _lock:
        found = _shops.get(home.root)
        opening = _opening.setdefault(home.root, threading.Lock())
        if found is not None:
            _shops.move_to_end(home.root)
            if time.monotonic() - found.looked < within:
                return found.shop
    stamp = stamp_of(home)
    if found is not None and found.stamp == stamp:
        found.looked = time.monotonic()
        return found.shop
    # With other purchases the old shop may hold somebody who has asked to be forgotten.
    still_good = found is not None and _purchases(found.stamp) == _purchases(stamp)
    if not opening.acquire(blocking=not still_good):
        assert found is not None
        return found.shop
    try:
        return _open(home)
    finally:
        opening.release()


def stamp_of(home: MerchantHome) -> Stamp:
    """Name, time of change and size of every file that a served shop is made of."""
    found = []
    for folder in (home.data, home.serving, home.models):
        for file in sorted(folder.rglob("*")):
            # Files that are being written have a leading dot, and may be gone by now.
            with contextlib.suppress(FileNotFoundError):
                if file.is_file() and not file.name.startswith("."):
                    stat = file.stat()
                    name = str(file.relative_to(home.root))
                    found.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _purchases(stamp: Stamp) -> Stamp:
    """What of a stamp changes when purchases go."""
    return tuple(one for one in stamp if one[0].endswith(("/shop.parquet", "/stale")))


def _open(home: MerchantHome) -> ServedShop:
    from datasites.merchant.serving import open_shop

    with _lock:
        found = _shops.get(home.root)
    try:
        for _ in range(MOST_CHANGES):
            # Taken first: a file that changes while the shop opens makes it open again.
            stamp = stamp_of(home)
            if found is not None and found.stamp == stamp:
                return found.shop
            try:
                with _spinner():
                    shop = open_shop(home)
            except ToyFedError:
                if stamp_of(home) == stamp:
                    raise
                continue  # a file was replaced while it was read
            if _purchases(stamp_of(home)) == _purchases(stamp):
                break
        else:
            raise SettingsError("expected a shop that stays as it is for a while; ask again")
    except ToyFedError:
        # What was open before was made of files that are gone, perhaps with a shopper in them.
        with _lock:
            _shops.pop(home.root, None)
        raise
    with _lock:
        _shops[home.root] = _Open(shop, stamp, time.monotonic())
        _shops.move_to_end(home.root)
        while len(_shops) > MOST_SHOPS:
            _shops.popitem(last=False)
    # What is there now stays for long. Left among what the collector looks through, it makes
    # everybody who asks just then wait a quarter of a second (measured).
    gc.collect()
    gc.freeze()
    return shop


@contextlib.contextmanager
def _spinner() -> Iterator[None]:
    """Tell a page that waits; the API has none."""
    if get_script_run_ctx(suppress_warning=True) is None:
        yield
    else:
        with st.spinner("Opening the shop …"):
            yield
