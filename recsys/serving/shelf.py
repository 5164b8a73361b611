"""A blend, ready to be asked for one basket at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data import Catalogue, Interactions
from recsys.errors import ModelError
from recsys.models import Blend, Explanation
from recsys.serving.filters import Filters

__all__ = ["Shelf", "Suggestion"]

_TELLING = 1 / 3
"""A single purchase is named as the reason if it makes up this much of what speaks for a toy."""

_REASONS = {
    "content": "similar to toys you chose",
    "neighbours": "often chosen here with your toys",
    "local": "shoppers here with tastes like yours choose it",
    "popularity": "popular in this shop",
    "shared": "families with tastes like yours choose it, across shops",
    "shared_popularity": "popular across shops",
}


@dataclass(frozen=True)
class Suggestion:
    """One toy to show: catalogue index, blended score, and the main reason in plain words."""

    item: int
    score: float
    reason: str


class Shelf:
    """Recommends for a basket that never leaves: nothing is stored, nothing is released.

    Args:
        blend: fitted components and their weights.
        catalogue: public facts, for filters and reasons.
        in_stock: bool [n_items], the toys that this shop can send; None for all. Others are
            shown only where the filters ask for them.

    Raises:
        ModelError: a stock list or a blend over another number of toys.
    """

    def __init__(
        self,
        blend: Blend,
        catalogue: Catalogue,
        in_stock: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        n_items = catalogue.n_items
        stock = np.ones(n_items, dtype=bool) if in_stock is None else np.asarray(in_stock, bool)
        if stock.shape != (n_items,) or blend.n_items != n_items:
            raise ModelError(
                f"Expected a blend and a stock list over the catalogue's {n_items} toys, found "
                f"{blend.n_items} and {stock.size}. Use those of the same catalogue."
            )
        self._blend = blend
        self._catalogue = catalogue
        self._in_stock = stock
        self._titles = [str(title) for title in catalogue.frame["title"]]

    def recommend(
        self, history: Sequence[int], n: int = 12, filters: Filters | None = None
    ) -> list[Suggestion]:
        """The best `n` toys that are allowed and not in the basket; fewer where fewer are left.

        Args:
            history: catalogue indices, oldest first; may be empty (best sellers then).

        Raises:
            ModelError: an index outside the catalogue.
        """
        n_items = self._catalogue.n_items
        if any(not 0 <= item < n_items for item in history):
            raise ModelError(
                f"Expected toys from 0 to {n_items - 1} in the basket, found one outside. "
                "Look them up in the catalogue's index_of."
            )
        basket = Interactions.from_lists([list(history)], n_items)
        filters = filters or Filters()
        allowed = filters.allowed(self._catalogue)
        if not filters.sold_out_too:
            allowed &= self._in_stock
        best = self._blend.recommend_explained(basket, n, allowed)
        shares = best.shares()
        return [
            Suggestion(int(item), float(score), self._reason(list(history), best, shares, place))
            for place, (item, score) in enumerate(zip(best.items, best.scores, strict=True))
        ]

    def similar(self, item: int, n: int = 8) -> list[Suggestion]:
        """Toys that somebody who took `item` alone would be shown."""
        return self.recommend([item], n)

    def _reason(
        self,
        history: list[int],
        explanation: Explanation,
        all_shares: Mapping[str, npt.NDArray[np.float32]],
        place: int,
    ) -> str:
        shares = {name: float(share[place]) for name, share in all_shares.items()}
        if not any(shares.values()):
            return "something new to try"
        total = sum(max(0.0, float(term[place])) for term in explanation.terms.values())
        if history and total > 0:
            parts = explanation.purchases[:, place]
            newest = int(np.argmax(parts))
            if parts[newest] / total >= _TELLING:
                return f"because you chose {self._titles[history[newest]]}"
        main = max(shares, key=lambda name: shares[name])
        return _REASONS.get(main, "recommended by this shop")
