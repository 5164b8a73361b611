"""Invents a catalogue of toys that reads like a real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.catalogue import Catalogue
from recsys.data.toy_words import BRANDS, KINDS, STYLES, THEMES, Kind

__all__ = ["InventedToys", "invent_toys"]

_BRANDS_PER_CATEGORY = 6
_TRIES = 12


@dataclass(frozen=True, eq=False)
class InventedToys:
    """A catalogue, and what its texts were made from.

    Args:
        catalogue: public facts.
        kind: int64 [n_toys], index into `toy_words.KINDS`.
        category: int64 [n_toys], index of the top category, from 0.
        theme: int64 [n_toys], index into `toy_words.THEMES`, -1 without one.
        season: int64 [n_toys], 1 summer, -1 winter, 0 all year.
    """

    catalogue: Catalogue
    kind: npt.NDArray[np.int64]
    category: npt.NDArray[np.int64]
    theme: npt.NDArray[np.int64]
    season: npt.NDArray[np.int64]


def invent_toys(n: int, generator: np.random.Generator) -> InventedToys:
    """Draw `n` toys with different titles, a maker, a price and an age range that fit."""
    tops = sorted({kind.category.split(" > ")[0] for kind in KINDS})
    makers = {
        top: generator.choice(len(BRANDS), size=_BRANDS_PER_CATEGORY, replace=False) for top in tops
    }
    order = np.resize(generator.permutation(len(KINDS)), n)
    seen: set[str] = set()
    editions = np.ones(len(KINDS), dtype=np.int64)
    rows: list[dict[str, Any]] = []
    themes = np.full(n, -1)
    for place, kind_index in enumerate(order):
        kind = KINDS[kind_index]
        title, size, themes[place], editions[kind_index] = _title(
            kind, editions[kind_index], seen, generator
        )
        brand = BRANDS[
            makers[kind.category.split(" > ")[0]][generator.integers(_BRANDS_PER_CATEGORY)]
        ]
        rows.append(
            {
                "item_id": f"T{place + 1:05d}",
                "title": title,
                "category_path": f"Toys > {kind.category}",
                "brand": brand,
                "price": _price(kind, size, generator),
                "age_from": float(kind.ages[0]),
                "age_to": np.nan if kind.ages[1] is None else float(kind.ages[1]),
                "image_url": "",
            }
        )
    category = np.array([tops.index(KINDS[k].category.split(" > ")[0]) for k in order])
    season = np.array([KINDS[k].season for k in order])
    return InventedToys(Catalogue(pd.DataFrame(rows)), order, category, themes, season)


def _title(
    kind: Kind, edition: int, seen: set[str], generator: np.random.Generator
) -> tuple[str, float, int, int]:
    """A title not used before, the size of its set from 0 to 1, its theme and its edition.

    `edition` is that of the kind's last toy: earlier ones are sold out of titles, and trying them
    again for each toy would take a time that grows with the square of the catalogue.
    """
    while True:
        for _ in range(_TRIES):
            theme = int(generator.integers(len(THEMES)))
            style = STYLES[generator.integers(len(STYLES))]
            step = int(generator.integers(max(len(kind.pieces), 1)))
            pieces = kind.pieces[step] if kind.pieces else 0
            title = kind.title.format(theme=THEMES[theme], style=style, n=pieces)
            if edition > 1:
                title += f" (edition {edition})"
            if title not in seen:
                seen.add(title)
                size = step / (len(kind.pieces) - 1) if len(kind.pieces) > 1 else generator.random()
                return title, size, theme if "{theme}" in kind.title else -1, edition
        edition += 1


def _price(kind: Kind, size: float, generator: np.random.Generator) -> float:
    """Larger sets cost more; prices end as shops like them to."""
    low, high = kind.prices
    place = np.clip(0.8 * size + 0.2 * generator.random(), 0, 1)
    ending = generator.choice([0.99, 0.95, 0.5], p=[0.6, 0.25, 0.15])
    return round(float(np.floor(low * (high / low) ** place) + ending), 2)
