"""What most shoppers buy: the baseline, and the answer for a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.linear import LinearRecommender, Product

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["Popularity"]


class Popularity(LinearRecommender):
    """Score a toy by how many shoppers bought it: s(u, j) = n_j, the same for everyone.

    Args:
        counts: [n_items] counts to use as they are (for example noised counts that many shops
            released together); None counts the shoppers given to `fit`. Values that are not
            finite or below zero count as zero.

    Privacy: with own counts, fit stays at the merchant; released noised counts are free.
    """

    name: ClassVar[str] = "popularity"

    def __init__(self, counts: npt.ArrayLike | None = None) -> None:
        self._given = None if counts is None else _clean(np.asarray(counts))
        self._counts: npt.NDArray[np.float32] = np.empty(0, dtype=np.float32)

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Count shoppers per toy, unless counts were given."""
        counts = self._given
        if counts is None:
            counts = interactions.item_counts().astype(np.float32)
        return self._take(counts, catalogue)

    def product(self, histories: Interactions) -> Product:
        """The counts, for every row."""
        self.check_histories(histories)
        return Product(constant=self._counts)

    def of_many(self, interactions: Interactions, least: int) -> Popularity:
        """Own counts below `least` become 0; given counts stay."""
        if self._given is not None:
            return self
        found = Popularity()
        found._counts = np.where(self._counts < least, np.float32(0), self._counts)
        found._n_items = self._n_items
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts."""
        return {"counts": self._counts}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Take back the counts."""
        return self._take(_clean(arrays["counts"]), catalogue)

    def _take(self, counts: npt.NDArray[np.float32], catalogue: Catalogue) -> Self:
        if counts.shape != (catalogue.n_items,):
            raise ModelError(
                f"Expected one count for each of {catalogue.n_items} toys, found shape "
                f"{counts.shape}. Use counts of the same catalogue."
            )
        self._counts = counts
        self._n_items = catalogue.n_items
        return self


def _clean(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    finite = np.nan_to_num(counts.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return np.maximum(finite, np.float32(0))
