"""Recommendations from shared toy embeddings; the shopper is folded in on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.fold_in import MOST_FACTORS, FoldIn, bounded_embeddings
from recsys.models.linear import LinearRecommender, Product

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["SharedEmbeddings"]


class SharedEmbeddings(LinearRecommender):
    """Score toys by embeddings that merchants learned together.

        u = (alpha G + sum_j w_j v_j v_j' + lambda I)^-1 sum_j w_j v_j,    score_j = u . v_j

    over the toys j in the shopper's history, w_j = decay^(newer purchases).

    Args:
        item_embeddings: V, float32 [n_items, d], d at most `MOST_FACTORS`,
            released under privacy or public.
        gram: G, float [d, d], positive semi-definite; V'V when left out.
        alpha: weight of toys not bought, 0 or more.
        regularization: lambda, above 0.
        decay: in (0, 1], how much each older purchase weighs of the next newer one.

    Raises:
        ModelError: arrays that do not fit or are not finite, or a setting outside its range.

    Privacy: nothing leaves. It post-processes released embeddings and a shopper's own history.
    """

    name: ClassVar[str] = "shared"

    def __init__(
        self,
        item_embeddings: npt.NDArray[np.float32],
        gram: npt.NDArray[np.float64] | None = None,
        alpha: float = 0.5,
        regularization: float = 0.1,
        decay: float = 1.0,
    ) -> None:
        if item_embeddings.ndim != 2 or not np.isfinite(item_embeddings).all():
            raise ModelError(
                "Expected finite item embeddings with one row a toy, found "
                f"{item_embeddings.ndim} dimensions or numbers that are not finite."
            )
        if item_embeddings.shape[1] > MOST_FACTORS:
            raise ModelError(
                f"Expected item embeddings of at most {MOST_FACTORS} factors, found "
                f"{item_embeddings.shape[1]}. Train with fewer."
            )
        if not (alpha >= 0 and regularization > 0 and 0 < decay <= 1):
            raise ModelError(
                "Expected alpha >= 0, regularization > 0 and decay in (0, 1], found "
                f"{alpha}, {regularization} and {decay}."
            )
        embeddings = bounded_embeddings(item_embeddings)
        self._embeddings = embeddings.astype(np.float32)
        size = embeddings.shape[1]
        if gram is None:
            gram = embeddings.T @ embeddings
        if gram.shape != (size, size) or not np.isfinite(gram).all():
            raise ModelError(
                f"Expected a finite gram of shape {(size, size)}, found shape {gram.shape} or "
                "numbers that are not finite."
            )
        ridge = alpha * np.asarray(gram, dtype=np.float64) + regularization * np.eye(size)
        self._fold_in = FoldIn(embeddings, ridge)
        self._decay = decay
        self._n_items = len(self._embeddings)

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Check that the catalogue is the embeddings' own; nothing is learned here."""
        self.check_histories(interactions)
        if catalogue.n_items != self.n_items:
            raise ModelError(
                f"Expected a catalogue of {self.n_items} toys, found {catalogue.n_items}."
            )
        return self

    def product(self, histories: Interactions) -> Product:
        """The scores of all toys, every shopper folded in."""
        self.check_histories(histories)
        return Product(dense=(self.shopper_vectors(histories).astype(np.float32), self._embeddings))

    def shopper_vectors(self, histories: Interactions) -> npt.NDArray[np.float64]:
        """u of every row, float64 [n_rows, d]; 0 for an empty history.

        Privacy: stays at the merchant.
        """
        return self._fold_in.vectors(histories.recency_csr(self._decay))
