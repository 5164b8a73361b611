"""The catalogue: public facts about the toys, the same for every merchant."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.errors import DataError

__all__ = ["LEVELS", "NUMBER_COLUMNS", "TEXT_COLUMNS", "Catalogue"]

TEXT_COLUMNS = ("item_id", "title", "category_path", "brand", "image_url")
NUMBER_COLUMNS = ("price", "age_from", "age_to")
_ORDER = (
    "item_id",
    "title",
    "category_path",
    "brand",
    "price",
    "age_from",
    "age_to",
    "image_url",
)
LEVELS = " > "


@dataclass(frozen=True, eq=False, repr=False)
class Catalogue:
    """Public facts about toys: one row per toy, whose position is the toy's catalogue index.

    Args:
        frame: columns item_id, title (str); category_path (levels joined by ' > '), brand,
            image_url (str, "" where unknown); price (currency units), age_from, age_to (years)
            as float, NaN where unknown. Missing optional columns are filled, others dropped.

    Raises:
        DataError: item_id or title is missing, or an item id is blank or occurs twice.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in ("item_id", "title") if name not in self.frame.columns]
        if missing:
            raise DataError(
                f"Expected a catalogue with the columns item_id and title; "
                f"missing: {', '.join(missing)}. Add or rename them."
            )
        frame = pd.DataFrame(index=pd.RangeIndex(len(self.frame)))
        for name in _ORDER:
            if name in TEXT_COLUMNS:
                values = self.frame[name] if name in self.frame.columns else None
                frame[name] = _text(values, len(frame))
            elif name in self.frame.columns:
                frame[name] = self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            else:
                frame[name] = np.nan
        if (frame["item_id"] == "").any() or frame["item_id"].duplicated().any():
            raise DataError(
                "Expected each toy to have an item_id of its own; "
                "found blank or repeated ones. Give every toy one row and one id."
            )
        object.__setattr__(self, "frame", frame)

    def __repr__(self) -> str:
        return f"Catalogue(n_items={self.n_items}, digest={self.digest[:12]})"

    def __len__(self) -> int:
        return self.n_items

    @property
    def n_items(self) -> int:
        """Number of toys."""
        return len(self.frame)

    @cached_property
    def item_ids(self) -> npt.NDArray[Any]:
        """Item ids, object [n_items] of str, in catalogue order."""
        return self.frame["item_id"].to_numpy(dtype=object)

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Catalogue index of each item id."""
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) over item ids and titles in order: the catalogue a model belongs to."""
        sha = hashlib.sha256()
        for text in self.frame[["item_id", "title"]].to_numpy(dtype=object).ravel():
            raw = text.encode()
            # The length keeps two neighbouring texts from being read as one another.
            sha.update(f"{len(raw)}:".encode())
            sha.update(raw)
        return sha.hexdigest()

    def text(self) -> list[str]:
        """Title, category and brand of each toy as one string, for content models."""
        columns = self.frame[["title", "category_path", "brand"]].to_numpy(dtype=object)
        return [" ".join(part for part in row if part) for row in columns]

    def categories(self, level: int | None = None) -> npt.NDArray[Any]:
        """Each toy's category, object [n_items] of str.

        Args:
            level: how many levels of the path to keep (1 is the broadest); None keeps all. A
                shorter path stays as it is.
        """
        paths = self.frame["category_path"].to_numpy(dtype=object)
        if level is None:
            return paths
        return np.array([LEVELS.join(path.split(LEVELS)[:level]) for path in paths], dtype=object)


def _text(values: pd.Series | None, length: int) -> pd.Series:
    if values is None:
        return pd.Series([""] * length, dtype=object)
    return pd.Series(
        ["" if value is None or value != value else str(value) for value in values], dtype=object
    )
