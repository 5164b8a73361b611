"""Shared co-purchases of all merchants in one process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.simulated import Components, Setting, joined, simulated_noise
from recsys.data import Catalogue, Interactions
from recsys.models import Popularity, Recommender
from recsys.models.co_purchase import (
    CoPurchaseSettings,
    PairSums,
    SharedPairs,
    counts_release,
    exact_pairs,
    make_plan,
    pair_cells,
    pairs_release,
)
from recsys.privacy import Budget

__all__ = ["SimulatedCoPurchase"]


class SimulatedCoPurchase:
    """The `co-purchase` recipe without processes in between."""

    name = "co-purchase"
    uses_own = False

    def __init__(self, settings: CoPurchaseSettings | None = None) -> None:
        self._settings = settings or CoPurchaseSettings()

    def train(
        self, shops: Mapping[str, Interactions], catalogue: Catalogue, setting: Setting
    ) -> Components:
        """Each merchant reads what the others released beside its own exact sums."""
        chosen = self._settings
        cells = pair_cells(catalogue, chosen.pairs_per_toy)
        noise = simulated_noise(setting, self.name, *shops)

        def release(purchases: Interactions) -> PairSums:
            if setting.epsilon is None:
                return _exact(purchases)
            plan = make_plan(chosen, Budget(setting.epsilon, setting.delta))
            counts, shoppers, counted = counts_release(purchases, plan, noise)
            pairs, paired = pairs_release(purchases, cells, plan, noise)
            return PairSums(
                pairs.astype(np.float64), counts, shoppers, paired.sigma**2, counted.sigma**2
            )

        def _exact(purchases: Interactions) -> PairSums:
            pairs = exact_pairs(purchases, cells, chosen)
            counts = purchases.item_counts().astype(float)
            return PairSums(pairs.astype(np.float64), counts, float(purchases.n_shoppers), 0.0, 0.0)

        if setting.noise == "secure_sum":
            total = release(joined(shops))
            # The merchant knows its own exact part of a secure sum, but not the noise.
            parts = {name: _exact(purchases) for name, purchases in shops.items()}
        else:
            parts = {name: release(purchases) for name, purchases in shops.items()}
            total = _added(list(parts.values()))

        def components(merchant: str) -> dict[str, Recommender]:
            others = SharedPairs(cells, total, chosen).without(parts[merchant])
            popularity = Popularity(np.maximum(others.sums.counts, 0))
            return {"shared": others, "shared_popularity": popularity}

        return components


def _added(parts: list[PairSums]) -> PairSums:
    return PairSums(
        np.sum([part.pairs for part in parts], axis=0, dtype=np.float64),
        np.sum([part.counts for part in parts], axis=0),
        float(sum(part.shoppers for part in parts)),
        float(sum(part.pair_variance for part in parts)),
        float(sum(part.count_variance for part in parts)),
    )
