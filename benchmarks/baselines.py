"""Usual recommenders on the same split: what a library gives without any of this."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data import Catalogue, Interactions
from recsys.models import ItemNeighbours, LocalALS, Popularity, Recommender

__all__ = ["ImplicitBPR", "baselines"]


def baselines() -> dict[str, Recommender]:
    """Name to unfitted model: popularity, item kNN (plain and ordered), implicit's ALS and BPR."""
    return {
        "popularity": Popularity(),
        "item kNN, cosine": ItemNeighbours(
            decay=1.0, gap_decay=1.0, backward=1.0, shrinkage=0.0, window=10_000
        ),
        "item kNN, ordered": ItemNeighbours(),
        "implicit ALS": LocalALS(factors=128, decay=1.0),
        "implicit BPR": ImplicitBPR(),
    }


class ImplicitBPR(Recommender):
    """implicit's Bayesian personalized ranking; knows only the shoppers that it was fitted on.

    Args:
        factors: dimensions.
        iterations: passes over the purchases.
        learning_rate, regularization: as in the library.
    """

    name: ClassVar[str] = "implicit-bpr"

    def __init__(
        self,
        factors: int = 64,
        iterations: int = 200,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
    ) -> None:
        self._settings = {
            "factors": factors,
            "iterations": iterations,
            "learning_rate": learning_rate,
            "regularization": regularization,
        }

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Train on these shoppers."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(**self._settings, random_state=0, num_threads=1)
        model.fit(interactions.csr(), show_progress=False)
        self._row_of: dict[Any, int] = {
            shopper: row for row, shopper in enumerate(interactions.shopper_ids)
        }
        self._shoppers, self._toys = model.user_factors, model.item_factors
        self._n_items = interactions.n_items
        return self

    def score(self, histories: Interactions) -> npt.NDArray[np.float32]:
        """u . v_j + bias, for shoppers of `fit`: float32 [n_rows, n_items]."""
        rows = [self._row_of[shopper] for shopper in histories.shopper_ids]
        scores: npt.NDArray[np.float32] = self._shoppers[rows] @ self._toys.T
        return scores
