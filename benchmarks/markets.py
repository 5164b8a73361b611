"""Plain purchases in any number, for speed and memory alone: nobody in them has a taste."""

from __future__ import annotations

import numpy as np

from recsys.data import Interactions

__all__ = ["long_tail"]


def long_tail(purchases: int, toys: int, seed: int = 0) -> Interactions:
    """Independent purchases of toys with a long tail, about so many in all.

    A shopper buys 1 + round(lognormal) toys, 8 at the median and 10 on average; the toy of rank r
    is bought with a chance in proportion to 1 / (r + 20).
    """
    rng = np.random.default_rng(seed)
    lengths = 1 + np.rint(rng.lognormal(np.log(7.0), 0.75, purchases // 10)).astype(np.int64)
    chances = 1.0 / (np.arange(toys) + 20.0)
    limits = np.cumsum(chances / chances.sum())
    ranks = np.searchsorted(limits, rng.random(int(lengths.sum())))
    items = rng.permutation(toys).astype(np.int32)[np.minimum(ranks, toys - 1)]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return Interactions(indptr, items, np.arange(lengths.size), toys)
