"""Which toys go together, told by pairs of toys that the public catalogue finds alike.

Each shopper adds a vector of length one at most over a public list of pairs; the merchants' sums
are noised once. What a merchant reads out of them is shrunk by what the catalogue leads to expect.
"""

from recsys.models.co_purchase.cells import PairCells, pair_cells
from recsys.models.co_purchase.model import PairSums, SharedPairs
from recsys.models.co_purchase.plan import COUNTS, PAIRS, CoPurchasePlan, make_plan
from recsys.models.co_purchase.settings import CoPurchaseSettings
from recsys.models.co_purchase.statistics import (
    counts_release,
    exact_pairs,
    pairs_release,
)

__all__ = [
    "COUNTS",
    "PAIRS",
    "CoPurchasePlan",
    "CoPurchaseSettings",
    "PairCells",
    "PairSums",
    "SharedPairs",
    "counts_release",
    "exact_pairs",
    "make_plan",
    "pair_cells",
    "pairs_release",
]
