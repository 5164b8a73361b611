"""A merchant's own matrix factorization: implicit-feedback ALS on its own purchases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.base import check_catalogue, newest_weights
from recsys.models.fold_in import FoldIn
from recsys.models.linear import LinearRecommender, Product
from recsys.models.neighbours import shoppers_of_pairs

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["LocalALS"]

Floats = npt.NDArray[np.float32]


_PAIR_WINDOW = 20
"""Different toys within which a shopper counts for a pair, as for neighbours."""


class LocalALS(LinearRecommender):
    """Weighted matrix factorization (Hu, Koren & Volinsky, ICDM 2008), shoppers folded in.

        u = (V'V + sum_h (c_h - 1) v_h v_h' + regularization I)^-1 sum_h c_h v_h
        s(u, j) = u . v_j,   c_h = alpha * decay^age(h)

    Toys that nobody bought have v_j = 0 and score 0; a shop without purchases scores 0 throughout.

    Args:
        factors: length of the vectors; a shop with fewer toys bought uses that many.
        regularization: weight of the squared norms.
        alpha: confidence in a purchase against none.
        iterations: sweeps of alternating least squares.
        decay: weight of a purchase relative to the next newer one, in training and fold-in.
        seed: of the start vectors; with one thread the result is the same every time.
        threads: threads of the library; more are faster and may differ in the last bits.

    Privacy: the vectors are exact; fit and score stay at the merchant.
    """

    name: ClassVar[str] = "local"

    def __init__(
        self,
        factors: int = 64,
        regularization: float = 0.1,
        alpha: float = 20.0,
        iterations: int = 15,
        decay: float = 0.8,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        if factors < 1 or iterations < 1 or regularization <= 0 or alpha <= 0:
            raise ModelError(
                "Expected factors and iterations of at least 1 and a positive regularization and "
                f"alpha, found factors={factors}, iterations={iterations}, "
                f"regularization={regularization}, alpha={alpha}."
            )
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.decay = decay
        self.seed = seed
        self.threads = threads
        self._vectors: Floats = np.empty((0, 0), dtype=np.float32)
        self._gram: Floats = np.empty((0, 0), dtype=np.float32)
        self._fold_in: FoldIn | None = None
        self._pairs: sp.csr_matrix | None = None

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Factorize the purchases."""
        check_catalogue(interactions.n_items, catalogue)
        weights = interactions.recency_csr(self.decay)
        bought = np.flatnonzero(np.bincount(weights.indices, minlength=interactions.n_items))
        shoppers = np.flatnonzero(np.diff(weights.indptr))
        vectors = np.zeros((interactions.n_items, min(self.factors, max(1, bought.size))))
        if bought.size:
            vectors[bought] = self._factorize(weights[shoppers][:, bought], vectors.shape[1])
        return self._take(vectors.astype(np.float32))

    def _factorize(self, weights: sp.csr_matrix, factors: int) -> Floats:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        # The library runs its own threads; BLAS threads below them would fight for the cores.
        with threadpool_limits(limits=1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=factors,
                regularization=self.regularization,
                alpha=self.alpha,
                iterations=self.iterations,
                random_state=self.seed,
                num_threads=self.threads,
            )
            model.fit(weights, show_progress=False)
        return np.asarray(model.item_factors, dtype=np.float32)

    def product(self, histories: Interactions) -> Product:
        """u . v_j, each history folded in."""
        self.check_histories(histories)
        if self._pairs is not None:
            one = sp.identity(histories.n_shoppers, dtype=np.float32, format="csr")
            return Product(table=(one, self._by_pairs(histories)))
        assert self._fold_in is not None  # as in every fitted model
        confidences = np.float32(self.alpha) * histories.recency_csr(self.decay)
        shoppers = self._fold_in.vectors(confidences, self.threads).astype(np.float32)
        return Product(dense=(shoppers, self._vectors))

    def _by_pairs(self, histories: Interactions) -> Floats:
        """Sums of `contributions`, of which only the known pairs are not 0."""
        assert self._pairs is not None
        scores = np.zeros((histories.n_shoppers, self.n_items), dtype=np.float32)
        for row in range(histories.n_shoppers):
            one = histories.rows([row])
            items = np.unique(self._pairs[one.items].indices).astype(np.int32)
            if items.size:
                scores[row, items] = self.contributions(one, items).sum(axis=0)
        return scores

    def contributions(self, histories: Interactions, items: npt.NDArray[np.int32]) -> Floats:
        """Return c_h v_h' A^-1 v_j, A the shopper's system, for each purchase h and toy j."""
        history = histories.history(0)
        confidence = np.float32(self.alpha) * newest_weights(history, self.decay)
        if self._pairs is not None:
            return self._each_alone(history, confidence, items)
        weights = histories.recency_csr(self.decay)
        known = self._vectors[weights.indices]
        system = self._gram + (known.T * (np.float32(self.alpha) * weights.data - 1)) @ known
        solved = np.linalg.solve(system, self._vectors[items].T)
        return np.asarray(confidence[:, None] * (self._vectors[history] @ solved), dtype=np.float32)

    def _each_alone(
        self, history: npt.NDArray[np.int32], confidence: Floats, items: npt.NDArray[np.int32]
    ) -> Floats:
        """As if each purchase were the only one, and for toys that form a known pair with it.

        In a system of all purchases, one that nobody else made would shift what the others say.
        """
        assert self._pairs is not None
        known = self._vectors[history]
        solved = np.linalg.solve(self._gram, known.T)  # G^-1 v_h, by columns
        held = 1 + (confidence - 1) * np.einsum("hd,dh->h", known, solved)
        parts = (confidence / held)[:, None] * (self._vectors[items] @ solved).T
        return np.asarray(parts * self._pairs[history][:, items].toarray(), dtype=np.float32)

    def of_many(self, interactions: Interactions, least: int) -> LocalALS:
        """What a purchase says for a toy counts only where so many shoppers bought both.

        Vectors hold lone pairs, too: leaving out toys that few bought would not be enough.
        """
        found = LocalALS(**self.settings())._take(self._vectors)
        known = shoppers_of_pairs(interactions, _PAIR_WINDOW) >= least
        found._pairs = known.tocsr().astype(np.float32)
        return found

    def settings(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "factors": self.factors,
            "regularization": self.regularization,
            "alpha": self.alpha,
            "iterations": self.iterations,
            "decay": self.decay,
            "seed": self.seed,
            "threads": self.threads,
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the toys' vectors, and the pairs that count where not all do."""
        pairs = self._pairs
        if pairs is None:
            return {"vectors": self._vectors}
        return {
            "vectors": self._vectors,
            "pair_indices": pairs.indices.astype(np.int32),
            "pair_indptr": pairs.indptr.astype(np.int64),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Take back what `arrays` returned."""
        vectors = np.asarray(arrays["vectors"], dtype=np.float32)
        check_catalogue(len(vectors), catalogue)
        self._take(vectors)
        if "pair_indptr" in arrays:
            indices = arrays["pair_indices"]
            parts = (np.ones(len(indices), np.float32), indices, arrays["pair_indptr"])
            self._pairs = sp.csr_matrix(parts, shape=(catalogue.n_items, catalogue.n_items))
        return self

    def _take(self, vectors: Floats) -> Self:
        self._vectors = vectors
        ridge = self.regularization * np.eye(vectors.shape[1])
        self._gram = (vectors.T @ vectors + ridge).astype(np.float32)
        self._fold_in = FoldIn(vectors, self._gram, offset=-1.0)
        self._pairs = None
        self._n_items = vectors.shape[0]
        return self
