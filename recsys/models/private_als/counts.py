"""Shoppers per toy, and all shoppers, counted under privacy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.private_als.plan import COUNTS, Plan
from recsys.models.private_als.settings import PrivateALSSettings
from recsys.privacy import GaussianEvent, SecureNoise, keep_at_most

__all__ = ["counts_release", "exact_counts", "merged_counts"]

Float = npt.NDArray[np.float64]


def exact_counts(interactions: Interactions, count_bound: int, keys: Float) -> Float:
    """Shoppers per toy, each shopper adding to at most `count_bound` toys, then all shoppers.

    Args:
        interactions: one merchant's.
        count_bound: kc.
        keys: float64 [distinct purchases], secret uniform draws that choose the toys.

    Returns:
        float64 [n_items + 1], the last number being the shoppers.

    Privacy: stays at the merchant; L2 sensitivity sqrt(kc + 1), add or remove one shopper.
    """
    kept = keep_at_most(interactions.csr(), count_bound, keys)
    sums = np.bincount(kept.indices, minlength=interactions.n_items)
    return np.append(sums, interactions.n_shoppers).astype(np.float64)


def counts_release(
    interactions: Interactions, settings: PrivateALSSettings, plan: Plan, noise: SecureNoise
) -> tuple[Float, float, list[GaussianEvent]]:
    """Release noised shoppers per toy and the noised number of shoppers.

    Returns:
        counts float64 [n_items] (may be negative: merge first, see `merged_counts`), number of
        shoppers (at least 1, fit for a FedAvg weight), and the event to book.

    Privacy: shopper-level, add or remove one; the plan's phase 'counts'.
    """
    plan.check_made_from(settings)
    (planned,) = plan.of(COUNTS)
    keys = noise.uniform(interactions.csr().nnz)
    exact = exact_counts(interactions, settings.count_bound, keys)
    noised, event = noise.release_sum(exact, planned.sensitivity, planned.sigma, planned.what)
    return noised[:-1], max(1.0, float(noised[-1])), [event]


def merged_counts(released: Sequence[Float]) -> Float:
    """n_j = max(1, sum over merchants): the public counts that rounds weigh toys by.

    Privacy: post-processing of released counts, free.
    """
    if not released or len({counts.shape for counts in released}) != 1:
        raise ModelError(
            f"Expected counts of one shape from one merchant or more, found "
            f"{[counts.shape for counts in released]}."
        )
    merged: Float = np.maximum(1.0, np.sum(released, axis=0))
    return merged
