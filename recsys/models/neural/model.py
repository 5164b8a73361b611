"""Recommendations from the two towers that merchants trained together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.linear import LinearRecommender, Product
from recsys.models.neural.features import BLOCKS, ToyFeatures, toy_features
from recsys.models.neural.settings import NeuralSettings
from recsys.models.neural.weights import (
    CALM,
    DECAYS,
    LARGEST,
    RESIDUALS,
    checked_popularity,
    unflatten,
)

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["TwoTower"]

Float = npt.NDArray[np.float64]


class TwoTower(LinearRecommender):
    """Score toys by the shopper's vector times the toy's, as the two towers make them.

        s(u, j) = u . v_j,   v_j = [x_j by block | popularity_j | W2 tanh(W1 f_j) + e_j]

    Args:
        network: merged weights, float32 [n_weights], released under privacy.
        popularity: float [n_items], of `merged_popularity`.
        settings: of the study.

    `fit` reads only the catalogue. Serving needs no torch.

    Raises:
        ModelError: arrays that do not fit the settings or one another.

    Privacy: nothing leaves. It post-processes released weights and a shopper's own history.
    """

    name: ClassVar[str] = "neural"

    def __init__(
        self,
        network: npt.NDArray[np.floating],
        popularity: npt.NDArray[np.floating],
        settings: NeuralSettings,
    ) -> None:
        self._popularity = checked_popularity(popularity, popularity.size)
        self._weights = unflatten(network, settings, len(popularity))
        self._network = network
        self._settings = settings
        self._features: ToyFeatures | None = None
        self._by_term: sp.csr_matrix = sp.csr_matrix((0, 0), dtype=np.float32)
        self._embeddings: npt.NDArray[np.float32] = np.empty((0, settings.factors), np.float32)

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Read the catalogue; the purchases are not looked at."""
        if catalogue.n_items != len(self._popularity):
            raise ModelError(
                f"Expected a catalogue of {len(self._popularity)} toys, "
                f"found {catalogue.n_items}. Use the catalogue of the study."
            )
        features = toy_features(catalogue, self._settings.features)
        hidden = np.tanh(features.dense @ self._weights["item_hidden"].T)
        embeddings = hidden @ self._weights["item_out"].T
        if RESIDUALS in self._weights:
            embeddings = embeddings + self._weights[RESIDUALS]
        self._features = features
        self._by_term = sp.vstack([rows.T for rows in features.blocks], format="csr")
        self._embeddings = np.clip(embeddings, -LARGEST, LARGEST).astype(np.float32)
        self._n_items = catalogue.n_items
        return self

    @property
    def item_embeddings(self) -> npt.NDArray[np.float32]:
        """The learned part of every toy's vector, float32 [n_items, d]."""
        return self._embeddings

    def shopper_embeddings(self, histories: Interactions) -> npt.NDArray[np.float32]:
        """The learned part of every shopper's vector, float32 [n_rows, d].

        Privacy: stays at the merchant.
        """
        newest = histories.recency_csr(DECAYS[0]) @ self._embeddings
        weights = histories.recency_csr(DECAYS[-1])
        totals = np.asarray(weights.sum(axis=1)).reshape(-1, 1)
        slow = (weights @ self._embeddings) / np.maximum(totals, 1e-9)
        vectors = CALM * np.hstack([newest, slow]) @ self._weights["shopper"].T
        return np.clip(vectors, -LARGEST, LARGEST).astype(np.float32)

    def product(self, histories: Interactions) -> Product:
        """The score of every toy for every history: learned part, features and popularity."""
        self.check_histories(histories)
        histories = histories.last(self._settings.history)
        recency = [histories.recency_csr(decay) for decay in DECAYS]
        return Product(
            dense=(self.shopper_embeddings(histories), self._embeddings),
            sparse=(sp.hstack(self._profiles(recency), format="csr"), self._by_term),
            constant=(self._weights["gains"][-1] * self._popularity).astype(np.float32),
        )

    def _profiles(self, recency: list[sp.csr_matrix]) -> list[sp.csr_matrix]:
        """Each block's part of the shoppers' vectors, csr [n_rows, *]."""
        assert self._features is not None  # score checked that fit was called
        gains = self._weights["gains"][:-1].reshape(len(BLOCKS), len(DECAYS)).astype(np.float32)
        return [
            sum(gain * weights for gain, weights in zip(of_block, recency, strict=True)) @ rows
            for of_block, rows in zip(gains, self._features.blocks, strict=True)
        ]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what merchants released together; features are rebuilt from the catalogue."""
        return {"network": self._network, "popularity": self._popularity}

    def settings(self) -> dict[str, Any]:
        """Return the study's settings."""
        return self._settings.to_dict()

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Take the arrays and rebuild the features from the catalogue."""
        other = TwoTower(arrays["network"], arrays["popularity"], self._settings)
        self.__dict__.update(other.__dict__)
        return self.fit(Interactions.from_lists([], catalogue.n_items), catalogue)
