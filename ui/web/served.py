"""Shops that are open for shoppers: opened once, and again when their files change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from datasites.merchant.home import MerchantHome

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["served_shop", "stamp_of"]

MOST_SHOPS = 16
"""Open shops kept in memory; the one that was used least recently goes first."""


def stamp_of(home: MerchantHome) -> tuple[tuple[str, int, int], ...]:
    """Name, time of change and size of every file that a served shop is made of."""
    files = [
        path
        for folder in (home.data, home.serving, home.models, home.private / "quality")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    found = [(file, file.stat()) for file in files]
    return tuple(
        (str(file.relative_to(home.root)), stat.st_mtime_ns, stat.st_size) for file, stat in found
    )


def served_shop(home: MerchantHome) -> ServedShop:
    """The shop of `home`, ready to recommend.

    Raises: SettingsError or ModelError with a readable text when nothing is served yet.
    Privacy: stays at the merchant; the cache lives in this process alone.
    """
    return _open(str(home.root), stamp_of(home))


@st.cache_resource(max_entries=MOST_SHOPS, show_spinner="Opening the shop …")
def _open(root: str, stamp: tuple[tuple[str, int, int], ...]) -> ServedShop:
    from datasites.merchant.serving import open_shop

    del stamp  # only there to open again when a file changes
    return open_shop(MerchantHome.open(Path(root)))
