"""Toys bought soon after those in the basket, by the same shoppers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.interactions import Interactions
from recsys.models.base import check_catalogue, newest_weights
from recsys.models.linear import LinearRecommender, Product

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["ItemNeighbours", "ToySimilarity", "co_purchases", "shoppers_of_pairs"]

_DENSE, _DENSE_CELLS = 0.1, 1 << 24
"""From this part of pairs on, similarities of so many pairs at most are also held dense."""

_PAIRS = 1 << 22


class ToySimilarity(LinearRecommender):
    """Scores by a matrix of similarities between toys: s(u, j) = sum_h decay^age(h) S_hj.

    Subclasses `_take` the matrix when they are fitted and set `decay`.
    """

    decay: float
    _similarity: sp.csr_matrix
    _table: npt.NDArray[np.float32] | None = None

    def product(self, histories: Interactions) -> Product:
        """The recency-weighted similarity to each history."""
        self.check_histories(histories)
        weights = histories.recency_csr(self.decay)
        if self._table is not None:
            return Product(table=(weights, self._table))
        return Product(sparse=(weights, self._similarity))

    def contributions(
        self, histories: Interactions, items: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return decay^age(h) * S_hj for each purchase h and asked toy j."""
        history = histories.history(0)
        weights = newest_weights(history, self.decay)
        similarity = self._similarity[history][:, items].toarray()
        return np.asarray(weights[:, None] * similarity, dtype=np.float32)

    def _take(self, similarity: sp.csr_matrix) -> Self:
        self._similarity, self._table = similarity, None
        cells = similarity.shape[0] * similarity.shape[1]
        # Where most pairs of toys are neighbours, adding up whole rows is several times faster.
        if cells <= _DENSE_CELLS and similarity.nnz > _DENSE * cells:
            self._table = similarity.toarray()
        self._n_items = similarity.shape[0]
        return self


class ItemNeighbours(ToySimilarity):
    """Item-item cosine neighbours that know the order of purchases.

        C_ij = sum over pairs (i bought g purchases before j) of gap_decay^(g-1)
             + backward * the same for (j before i)
        S_ij = C_ij / sqrt((n_i + shrinkage)(n_j + shrinkage)),   s(u, j) = sum_h decay^age(h) S_hj

    With gap_decay = backward = 1, shrinkage = 0 and an unlimited window, S is the usual cosine of
    binary purchase columns (Deshpande & Karypis, TOIS 2004).

    Args:
        decay: weight of a purchase in the history relative to the next newer one, in [0, 1].
        gap_decay: weight of a pair relative to one that lies one purchase closer, in [0, 1].
        backward: weight of a pair against the order of time, in [0, 1].
        shrinkage: shoppers added to each toy's count; damps pairs of rarely bought toys.
        window: pairs further apart than this many purchases are left out.

    Privacy: the co-purchase counts are exact; fit and score stay at the merchant.
    """

    name: ClassVar[str] = "neighbours"

    def __init__(
        self,
        decay: float = 0.6,
        gap_decay: float = 0.85,
        backward: float = 0.3,
        shrinkage: float = 20.0,
        window: int = 20,
    ) -> None:
        self.decay = decay
        self.gap_decay = gap_decay
        self.backward = backward
        self.shrinkage = shrinkage
        self.window = window
        self._similarity: sp.csr_matrix = sp.csr_matrix((0, 0), dtype=np.float32)

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Count the co-purchases of these shoppers."""
        check_catalogue(interactions.n_items, catalogue)
        forward = co_purchases(interactions, self.gap_decay, self.window)
        pairs = (forward + self.backward * forward.T).tocsr()
        del forward
        counts = interactions.item_counts().astype(np.float64) + self.shrinkage
        # A toy that nobody bought has no pairs; any positive number keeps the division finite.
        scale = 1.0 / np.sqrt(np.maximum(counts, 1.0))
        pairs.data *= scale[pairs.indices]
        pairs.data *= np.repeat(scale, np.diff(pairs.indptr))
        return self._take(pairs.astype(np.float32))

    def of_many(self, interactions: Interactions, least: int) -> ItemNeighbours:
        """Only pairs of toys that at least so many shoppers bought both of."""
        shared = shoppers_of_pairs(interactions, self.window) >= least
        kept = self._similarity.multiply(shared).tocsr().astype(np.float32)
        return ItemNeighbours(**self.settings())._take(kept)

    def settings(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "decay": self.decay,
            "gap_decay": self.gap_decay,
            "backward": self.backward,
            "shrinkage": self.shrinkage,
            "window": self.window,
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the similarities in CSR."""
        return {
            "data": self._similarity.data,
            "indices": self._similarity.indices.astype(np.int32),
            "indptr": self._similarity.indptr.astype(np.int64),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Take back the similarities."""
        check_catalogue(len(arrays["indptr"]) - 1, catalogue)
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        return self._take(sp.csr_matrix(parts, shape=(catalogue.n_items, catalogue.n_items)))


def shoppers_of_pairs(interactions: Interactions, window: int) -> sp.csr_matrix:
    """How many shoppers bought both toys of a pair, within so many different toys.

    Of a toy that a shopper bought again the first purchase counts, so that nobody counts twice.

    Returns:
        symmetric csr float64 [n_items, n_items].

    Privacy: stays at the merchant.
    """
    cells = interactions.row_index.astype(np.int64) * interactions.n_items + interactions.items
    first = np.zeros(cells.size, dtype=bool)
    first[np.unique(cells, return_index=True)[1]] = True
    lengths = np.bincount(interactions.row_index[first], minlength=interactions.n_shoppers)
    once = Interactions(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=interactions.items[first],
        shopper_ids=interactions.shopper_ids,
        n_items=interactions.n_items,
    )
    forward = co_purchases(once, 1.0, window)
    return (forward + forward.T).tocsr()


def co_purchases(interactions: Interactions, gap_decay: float, window: int) -> sp.csr_matrix:
    """Sum gap_decay^(gap-1) over pairs 'row's toy, then column's toy' of the same shopper.

    Args:
        interactions: purchases in order of time; pairs of a toy with itself are left out.
        gap_decay: weight of a pair relative to one that lies one purchase closer.
        window: greatest gap.

    Returns:
        csr float64 [n_items, n_items].

    Privacy: stays at the merchant; a shopper of n purchases adds up to n * window pairs.
    """
    items, rows = interactions.items, interactions.row_index
    shape = (interactions.n_items, interactions.n_items)
    matrix = sp.csr_matrix(shape, dtype=np.float64)
    # Gap by gap and piece by piece: pairs are many times as many as purchases.
    for gap in range(1, min(window, int(interactions.lengths.max(initial=1)) - 1) + 1):
        pair = (rows[gap:] == rows[:-gap]) & (items[gap:] != items[:-gap])
        older, newer = items[:-gap][pair], items[gap:][pair]
        for start in range(0, older.size, _PAIRS):
            cells = older[start : start + _PAIRS], newer[start : start + _PAIRS]
            weights = np.full(cells[0].size, float(gap_decay) ** (gap - 1))
            matrix += sp.csr_matrix((weights, cells), shape=shape)
    return matrix
