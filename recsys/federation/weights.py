"""How much each merchant counts in an average, whole or for each row. Post-processing, free."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.federation.update import Update
from recsys.privacy import GaussianEvent

__all__ = [
    "capped_shares",
    "denoised_support",
    "precision_weights",
    "relative_noise",
    "size_shares",
]

Array = npt.NDArray[np.float64]


def size_shares(updates: Sequence[Update]) -> Array:
    """Shares by size, p_k = n_k / sum_k n_k, n_k the update's weight: float64 [n_updates].

    Raises:
        ModelError: no updates, or weights that are all 0.
    """
    if not updates:
        raise ModelError(
            "Expected an update of at least one merchant, found none; repeat the round."
        )
    weights = np.array([update.weight for update in updates], dtype=np.float64)
    if not weights.max() > 0:
        raise ModelError(
            f"Expected a weight above 0 among {[update.merchant for update in updates]}, found "
            "only 0; send max(1, noised number of shoppers)."
        )
    # By the greatest first: the sum of huge weights would overflow.
    weights = weights / weights.max()
    shares: Array = weights / weights.sum()
    return shares


def capped_shares(shares: Array, largest: float) -> Array:
    """Shares of which none exceeds `largest`; the others gain in proportion.

        p_k' = min(largest, c p_k),  c such that sum_k p_k' = 1

    With fewer than 1 / largest merchants all count the same.

    Args:
        shares: float64 [n_updates], 0 or more, adding up to 1.
        largest: in (0, 1].

    Raises:
        ModelError: `largest` outside its range.
    """
    if not 0 < largest <= 1:
        raise ModelError(f"Expected a largest share in (0, 1], found {largest}.")
    if largest * np.count_nonzero(shares) <= 1:
        equal: Array = (shares > 0) / np.count_nonzero(shares)
        return equal
    capped = np.zeros(shares.shape, dtype=bool)
    result = shares.copy()
    while (result > largest * (1 + 1e-12)).any():
        capped |= result > largest
        left = 1 - largest * capped.sum()
        result = np.where(capped, largest, shares * left / shares[~capped].sum())
    return result


def relative_noise(update: Update) -> float:
    """Noise of a round in units of what one shopper can change: z = 1 / sqrt(sum mu^2).

    Taken from the Gaussian events that the update booked; 0 where it booked none, as if it were
    exact. The same z means the same noise at a merchant of 50 shoppers and at one of 50,000.
    """
    squared = sum(event.mu**2 for event in update.events if isinstance(event, GaussianEvent))
    return 1 / math.sqrt(squared) if squared > 0 else 0.0


def denoised_support(support: Array, shares: Array, sigma: float) -> Array:
    """Shrink noised counts towards each merchant's share of the total (empirical Bayes).

        prior_kj = p_k max(0, sum_k s_kj)
        t_k^2 = max(0, mean_j (s_kj - prior_kj)^2 - sigma^2 (1 + 2 sqrt(2 / n_rows)))
        s_kj' = max(0, prior_kj + t_k^2 / (t_k^2 + sigma^2) (s_kj - prior_kj))

    A small merchant's counts are mostly noise, of which half is positive: taken as they come they
    would claim rows that the merchant knows nothing of. A specialist's counts differ from its share
    by more than the noise and are kept. By more means by two standard errors of a variance: without
    them, half of all merchants without a speciality would seem to have one.

    Args:
        support: float64 [n_updates, n_rows], noised.
        shares: float64 [n_updates], of `size_shares`.
        sigma: known standard deviation of the noise in each count, 0 or more.

    Source: James, Stein, Estimation with quadratic loss, 1961; Efron, Morris, JASA 1973.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ModelError(f"Expected a finite sigma of 0 or more, found {sigma}.")
    prior = shares[:, None] * np.maximum(support.sum(axis=0), 0.0)
    off = support - prior
    by_chance = sigma**2 * (1 + 2 * math.sqrt(2 / max(1, support.shape[1])))
    true = np.maximum(np.mean(off**2, axis=1, keepdims=True) - by_chance, 0.0)
    total = true + sigma**2
    kept = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    shrunk: Array = np.maximum(prior + kept * off, 0.0)
    return shrunk


def precision_weights(support: Array, noise: Array, width: int) -> Array:
    """Inverse variance of each merchant's row: w_kj = s_kj^2 / (s_kj + d z_k^2).

    A row estimated from s shoppers has the variance 1/s of their differences and that of the noise,
    d z^2 / s^2, in units of one shopper's squared contribution. Where noise rules, a merchant with
    ten times the shoppers counts a hundredfold; without noise this is the support itself.

    Args:
        support: float64 [n_updates, n_rows], 0 or more.
        noise: float64 [n_updates], z of `relative_noise`.
        width: d, numbers in a row.

    Source: Hartung, Knapp, Sinha, Statistical meta-analysis, 2008, chapter 4 (inverse variance).
    """
    total = support + width * noise[:, None] ** 2
    share = np.divide(support, total, out=np.zeros_like(support), where=total > 0)
    weights: Array = support * share
    return weights
