"""Filters on what is recommended: only those that the catalogue has facts for."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import streamlit as st

from recsys.data import Catalogue

if TYPE_CHECKING:
    from datasites.merchant.serving import Filters

__all__ = ["choose_filters", "telling_level"]

OLDEST = 16
LEVELS = 4
NEARLY_ALL = 0.8


def choose_filters(catalogue: Catalogue, *, knows_stock: bool = False) -> Filters:
    """Widgets for age, price, category and stock, as far as catalogue and shop say them."""
    from datasites.merchant.serving import Filters

    frame = catalogue.frame
    age: float | None = None
    price: float | None = None
    categories: list[str] = []
    if frame["age_from"].notna().any() or frame["age_to"].notna().any():
        age = st.selectbox(
            "Age of the child",
            [None, *range(OLDEST + 1)],
            format_func=lambda years: "any age" if years is None else _years(years),
            key="filter-age",
            persist_state="session",
        )
    prices = frame["price"].dropna()
    if len(prices) and prices.max() > prices.min():
        price = _price(math.floor(prices.min()), math.ceil(prices.max()))
    level = telling_level(catalogue)
    if level is not None:
        options = sorted({name for name in catalogue.categories(level) if name})
        categories = st.multiselect(
            "Category",
            options,
            format_func=lambda path: path.split(" > ")[-1],
            placeholder="all",
            key="filter-categories",
            persist_state="session",
        )
    sold_out_too = knows_stock and st.toggle(
        "Sold out toys too", key="filter-sold-out", persist_state="session"
    )
    return Filters(
        price_max=price,
        age=None if age is None else float(age),
        categories=tuple(categories),
        sold_out_too=sold_out_too,
    )


def telling_level(catalogue: Catalogue) -> int | None:
    """The broadest level at which no category holds nearly all toys; None where none differ."""
    differ: int | None = None
    for level in range(1, LEVELS + 1):
        names = [name for name in catalogue.categories(level) if name]
        sizes = Counter(names)
        if len(sizes) > 1:
            differ = differ or level
            if max(sizes.values()) <= NEARLY_ALL * len(names):
                return level
    return differ


def _price(lowest: int, highest: int) -> float | None:
    key = "filter-price"
    kept = st.session_state.get(key, highest)
    st.session_state[key] = min(max(kept, lowest), highest)
    chosen = st.slider(
        "Price up to",
        lowest,
        highest,
        key=key,
        persist_state="session",
        help="At its right end the price does not matter.",
    )
    return None if chosen >= highest else float(chosen)


def _years(years: int) -> str:
    if years == 0:
        return "under 1 year"
    return "1 year" if years == 1 else f"{years} years"
