"""What shared co-purchases release and cost, fixed before any data is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recsys.models.co_purchase.settings import CoPurchaseSettings
from recsys.privacy import Budget, GaussianEvent, split_budget

__all__ = ["COUNTS", "PAIRS", "CoPurchasePlan", "make_plan"]

COUNTS, PAIRS = "counts", "pairs"


@dataclass(frozen=True)
class CoPurchasePlan:
    """Phase -> its one planned event; both together cost `budget`."""

    settings: CoPurchaseSettings
    budget: Budget
    phases: Mapping[str, GaussianEvent]


def make_plan(settings: CoPurchaseSettings, budget: Budget) -> CoPurchasePlan:
    """Split a budget over the two releases of one merchant.

    Sensitivities, for one shopper added or removed:

    - counts: sqrt(kc + 1), at most kc toys and the number of shoppers;
    - pairs: 1, the L2 norm that each shopper's vector over the pairs is clipped to.
    """
    shares = {COUNTS: settings.counts_share, PAIRS: settings.pairs_share}
    mu = split_budget(budget, shares)
    bound = math.sqrt(settings.count_bound + 1)
    return CoPurchasePlan(
        settings,
        budget,
        {
            COUNTS: GaussianEvent(COUNTS, bound, bound / mu[COUNTS]),
            PAIRS: GaussianEvent(PAIRS, 1.0, 1.0 / mu[PAIRS]),
        },
    )
