"""Which toys may be shown: price, age, category, and toys that are not wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data import Catalogue

__all__ = ["Filters"]


@dataclass(frozen=True)
class Filters:
    """What a shopper asked for. A toy whose catalogue entry lacks a fact is not hidden by it.

    Args:
        price_max: highest price, in the catalogue's currency; None for any.
        age: of the child, in years; None for any.
        categories: category paths or beginnings of them; () for all.
        exclude: catalogue indices that are not to be shown.
        price_min: lowest price; None for any.
        sold_out_too: whether toys that the shop cannot send now may be shown.
    """

    price_max: float | None = None
    age: float | None = None
    categories: tuple[str, ...] = ()
    exclude: tuple[int, ...] = ()
    price_min: float | None = None
    sold_out_too: bool = False

    def allowed(self, catalogue: Catalogue) -> npt.NDArray[np.bool_]:
        """One flag per toy: bool [n_items]. Stock is the shelf's to know, not the catalogue's."""
        frame = catalogue.frame
        allowed = np.ones(catalogue.n_items, dtype=bool)
        if self.price_max is not None:
            allowed &= ~(frame["price"].to_numpy(dtype=float) > self.price_max)
        if self.price_min is not None:
            allowed &= ~(frame["price"].to_numpy(dtype=float) < self.price_min)
        if self.age is not None:
            allowed &= ~(frame["age_from"].to_numpy(dtype=float) > self.age)
            allowed &= ~(frame["age_to"].to_numpy(dtype=float) < self.age)
        if self.categories:
            paths = frame["category_path"].fillna("").astype(str)
            inside = np.zeros(catalogue.n_items, dtype=bool)
            for wanted in self.categories:
                inside |= ((paths == wanted) | paths.str.startswith(f"{wanted} > ")).to_numpy()
            allowed &= inside
        inside_catalogue = [item for item in self.exclude if 0 <= item < catalogue.n_items]
        allowed[inside_catalogue] = False
        return allowed
