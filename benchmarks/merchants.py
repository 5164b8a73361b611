"""Merchants in one process: what each knows alone, and what shared components add to it.

The same steps as `datasites.merchant.fit`, with the scores of a merchant's own components kept, so
that many shared models can be judged at the cost of one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from datasites.merchant.fit import own_components
from recsys.data import Catalogue, Interactions, Marketplace, Shop
from recsys.evaluation.metrics import rank_metrics, target_ranks
from recsys.models import Blend, Recommender
from recsys.models.base import chunks

__all__ = ["Figures", "Merchant", "figures_of", "merchants_of"]

Floats = npt.NDArray[np.float64]
Figures = dict[str, Floats]
"""hr@10 and ndcg@10 of each evaluated shopper."""

K = 10


def figures_of(model: Recommender, histories: Interactions, targets: Interactions) -> Figures:
    """Full ranking, as `recsys.evaluation.evaluate` does it, without lists."""
    rows = np.flatnonzero(targets.lengths > 0)
    parts: list[Figures] = []
    for block in chunks(rows.size, histories.n_items):
        known, wanted = histories.rows(rows[block]), targets.rows(rows[block])
        pairs = np.unique(np.stack([wanted.row_index, wanted.items.astype(np.int64)]), axis=1)
        ranks = target_ranks(
            model.score(known), pairs[0], pairs[1], known.row_index, known.items.astype(np.int64)
        )
        parts.append(rank_metrics(ranks, pairs[0], block.size, (K,)))
    return {
        name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
        for name in (f"hr@{K}", f"ndcg@{K}")
    }


class Merchant:
    """One merchant: own components fitted, their scores kept, `alone` measured on `test`.

    Args:
        shop: its purchases.
        catalogue: the public one.
        judged: shoppers whose `valid` and `test` purchases count, int64 row numbers; None for all.
            All shoppers' other purchases are learned from.
    """

    def __init__(
        self, shop: Shop, catalogue: Catalogue, judged: npt.NDArray[np.int64] | None = None
    ) -> None:
        split = shop.split
        rows = np.arange(split.train.n_shoppers) if judged is None else judged
        self.name = shop.name
        self.train = split.train
        self._catalogue = catalogue
        self._before = split.before_test()
        self._valid = split.train.rows(rows), split.valid.rows(rows)
        self._test = self._before.rows(rows), split.test.rows(rows)
        own = _fitted(split.train, catalogue, self._valid[0])
        self._blend = Blend(own).fit_weights(*self._valid)
        self._own = _fitted(self._before, catalogue, self._test[0])
        alone = Blend(self._own, self._blend.weights, self._blend.units)
        self.alone = figures_of(alone, *self._test)

    @property
    def weights(self) -> dict[str, float]:
        """Of the blend that releases nothing and takes nothing."""
        return dict(self._blend.weights)

    def federated(self, components: Mapping[str, Recommender]) -> tuple[Figures, dict[str, float]]:
        """Figures on `test` and weights of the blend with shared components.

        Args:
            components: unfitted; fitted here on `train` for the weights, then on train + valid.
        """
        for component in components.values():
            component.fit(self.train, self._catalogue)
        wide = self._blend.extend(components).fit_weights(*self._valid)
        if not any(wide.weights[name] for name in components):
            return self.alone, dict(wide.weights)
        for component in components.values():
            component.fit(self._before, self._catalogue)
        blend = Blend({**self._own, **components}, wide.weights, wide.units)
        return figures_of(blend, *self._test), dict(wide.weights)

    def baseline(self, model: Recommender) -> Figures:
        """Figures on `test` of a model that this merchant fits by itself."""
        return figures_of(model.fit(self._before, self._catalogue), *self._test)

    def own(self, name: str) -> Figures:
        """Figures on `test` of one of its own components."""
        return figures_of(self._own[name], *self._test)


def merchants_of(
    marketplace: Marketplace, judged: Mapping[str, npt.NDArray[np.int64]] | None = None
) -> list[Merchant]:
    """Every merchant of a marketplace; `judged` as for `Merchant`, by name."""
    return [
        Merchant(shop, marketplace.catalogue, None if judged is None else judged[name])
        for name, shop in marketplace.shops.items()
    ]


class _Kept(Recommender):
    """A fitted component's scores of known shoppers, looked up by their id."""

    name: ClassVar[str] = "kept"

    def __init__(self, model: Recommender, histories: Interactions) -> None:
        self._n_items = histories.n_items
        self._row_of: dict[Any, int] = {
            shopper: row for row, shopper in enumerate(histories.shopper_ids)
        }
        self._scores = np.empty((histories.n_shoppers, histories.n_items), dtype=np.float32)
        for block in chunks(histories.n_shoppers, histories.n_items):
            self._scores[block[0] : block[-1] + 1] = model.score(histories.rows(block))

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        return self

    def score(self, histories: Interactions) -> npt.NDArray[np.float32]:
        rows = [self._row_of[shopper] for shopper in histories.shopper_ids]
        scores: npt.NDArray[np.float32] = self._scores[rows]
        return scores


_DEAR = ("content", "neighbours")
"""Components whose scores are kept: asking them again takes long, the others are asked anew."""


@functools.lru_cache(maxsize=1)
def _content(catalogue: Catalogue) -> Recommender:
    """The same for all merchants, because it reads only the catalogue."""
    nothing = Interactions.from_lists([], catalogue.n_items)
    return own_components()["content"].fit(nothing, catalogue)


def _fitted(
    purchases: Interactions, catalogue: Catalogue, histories: Interactions
) -> dict[str, Recommender]:
    fitted: dict[str, Recommender] = {}
    for name, model in (own_components() | {"content": _content(catalogue)}).items():
        if name != "content":
            model.fit(purchases, catalogue)
        fitted[name] = _Kept(model, histories) if name in _DEAR else model
    return fitted
