"""Shops that are open for shoppers: opened once, and again when their files change."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from datasites.merchant.home import MerchantHome

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["served_shop", "stamp_of"]

MOST_SHOPS = 16
"""Open shops kept in memory, one version of each; the least recently used goes first."""
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Open:
    """An open shop, and the files that it was made of."""

    home: MerchantHome
    stamp: Stamp
    shop: ServedShop

    def is_current(self) -> bool:
        return self.stamp == stamp_of(self.home)


def served_shop(home: MerchantHome) -> ServedShop:
    """The shop of `home`, ready to recommend.

    Raises: SettingsError or ModelError with a readable text when nothing is served yet.
    Privacy: stays at the merchant; the cache lives in this process alone.
    """
    return _open(str(home.root)).shop


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


@st.cache_resource(
    max_entries=MOST_SHOPS, show_spinner="Opening the shop …", validate=_Open.is_current
)
def _open(root: str) -> _Open:
    from datasites.merchant.serving import open_shop

    home = MerchantHome.open(Path(root))
    # Taken first: a file that changes while the shop opens makes it open again.
    stamp = stamp_of(home)
    return _Open(home, stamp, open_shop(home))
