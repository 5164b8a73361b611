"""Merges: one array from the updates of many merchants. All are post-processing, free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.federation.update import Update
from recsys.federation.weights import (
    capped_shares,
    denoised_support,
    precision_weights,
    relative_noise,
    size_shares,
)

__all__ = [
    "capped_fedavg",
    "fedavg",
    "precision_weighted",
    "shrink_rows",
    "sum_statistics",
    "summed",
    "support_weighted",
]

Array = npt.NDArray[np.float64]

# A merchant is not trusted: nothing that it sends may make a sum overflow.
_MOST = 1e300


def fedavg(updates: Sequence[Update], array: str) -> Array:
    """Federated averaging: w = sum_k (n_k / n) w_k, with n = sum_k n_k.

    Args:
        updates: one merchant each; n_k is the update's weight, declared in public or noised.
        array: name of the array to merge.

    Returns:
        float64, the shape that every merchant sent.

    Raises:
        ModelError: no updates, an array that is missing or of another shape, or weights that
            are all 0.

    Source: McMahan et al., Communication-efficient learning of deep networks, AISTATS 2017.
    """
    return capped_fedavg(updates, array, largest=1.0)


def capped_fedavg(updates: Sequence[Update], array: str, largest: float) -> Array:
    """FedAvg in which no merchant's share exceeds `largest`, see `capped_shares`.

    At 1 / n_updates or less it is the plain mean: every merchant counts the same (agnostic to size,
    as in Mohri, Sivek, Suresh, Agnostic federated learning, ICML 2019, without its inner game).

    Args, errors: as `fedavg`; also ModelError for `largest` outside (0, 1].
    """
    stacked = _stack(updates, array)
    merged: Array = np.tensordot(capped_shares(size_shares(updates), largest), stacked, axes=1)
    return merged


def support_weighted(updates: Sequence[Update], array: str, support: str) -> Array:
    """Average each row by who knows it: w_j = sum_k s_kj w_kj / sum_k s_kj, s = max(0, support).

    A row that nobody supports is averaged by the updates' weights, as in `fedavg`.

    Args:
        updates: one merchant each.
        array: name of the array to merge, [n_items, ...].
        support: name of each merchant's noised counts, [n_items]; below 0 counts as 0.

    Returns:
        float64, the shape of the array.

    Raises:
        ModelError: as `fedavg`, or a support that does not fit the array.
    """
    stacked, counts = _with_support(updates, array, support)
    return _average_rows(stacked, np.maximum(counts, 0.0), size_shares(updates))


def precision_weighted(
    updates: Sequence[Update], array: str, support: str, support_sigma: float = 0.0
) -> Array:
    """Average each row by inverse variance, with the noise that the updates' events tell.

        w_j = sum_k q_kj w_kj / sum_k q_kj,   q_kj = s_kj'^2 / (s_kj' + d z_k^2)

    where s' is the support with its own noise taken out (`denoised_support`), d the numbers in a
    row, and z_k the noise of merchant k's update (`relative_noise`, `precision_weights`).

    Args:
        updates: one merchant each, with the events that they booked.
        array: name of the array to merge, [n_items, ...].
        support: name of each merchant's noised counts, [n_items].
        support_sigma: standard deviation of the noise in those counts; 0 if they are exact.

    Returns:
        float64, the shape of the array.

    Raises:
        ModelError: as `support_weighted`.
    """
    stacked, counts = _with_support(updates, array, support)
    weights = _precisions(updates, stacked, counts, support_sigma)
    return _average_rows(stacked, weights, size_shares(updates))


def shrink_rows(
    updates: Sequence[Update],
    array: str,
    support: str,
    support_sigma: float = 0.0,
    prior: Array | None = None,
    prior_shoppers: float = 1.0,
) -> Array:
    """`precision_weighted`, then rows with little behind them are drawn to what is expected.

        w_j = (Q_j m_j + t v_j) / (Q_j + t),   Q_j = sum_k q_kj

    with m the precision-weighted average, q its precisions, and v the prior: the mean row, as in
    empirical Bayes, or what is given, such as the previous state or embeddings of the catalogue.
    It is the posterior mean under a prior that is worth t shoppers without noise.

    Args:
        updates, array, support, support_sigma: as `precision_weighted`.
        prior: v, float64 [n_items, ...]; None takes sum_j Q_j m_j / sum_j Q_j for every row.
        prior_shoppers: t, above 0.

    Raises:
        ModelError: as `precision_weighted`, or a prior of another shape.

    Source: Efron, Morris, Data analysis using Stein's estimator, JASA 1975; Kass, Wasserman, JASA
    1995 (the prior that is worth one observation).
    """
    stacked, counts = _with_support(updates, array, support)
    if not prior_shoppers > 0:
        raise ModelError(f"Expected prior_shoppers above 0, found {prior_shoppers}.")
    if prior is not None and prior.shape != stacked.shape[1:]:
        raise ModelError(
            f"Expected a prior of {array!r} of shape {stacked.shape[1:]}, found {prior.shape}; "
            "use one catalogue."
        )
    weights = _precisions(updates, stacked, counts, support_sigma)
    merged = _average_rows(stacked, weights, size_shares(updates))
    behind = weights.sum(axis=0)
    if prior is None:
        total = behind.sum()
        shares = behind / total if total > 0 else np.full(len(behind), 1 / max(1, len(behind)))
        prior = np.broadcast_to(np.tensordot(shares, merged, axes=1), merged.shape)
    kept = (behind / (behind + prior_shoppers)).reshape(-1, *[1] * (merged.ndim - 1))
    shrunk: Array = kept * merged + (1 - kept) * prior
    return shrunk


def sum_statistics(updates: Sequence[Update]) -> dict[str, Array]:
    """Add up every array over merchants; weights play no part.

    Returns:
        name -> float64 sum.

    Raises:
        ModelError: no updates, or merchants whose arrays differ in name or shape.
    """
    _require_some(updates)
    names = set(updates[0].arrays)
    for update in updates:
        if set(update.arrays) != names:
            raise ModelError(
                f"Expected the arrays {sorted(names)} of every merchant, found "
                f"{sorted(update.arrays)} of {update.merchant!r}."
            )
    return {name: summed(updates, name) for name in sorted(names)}


def summed(updates: Sequence[Update], array: str) -> Array:
    """One array of `sum_statistics`: w = sum_k w_k, float64."""
    total: Array = _stack(updates, array).sum(axis=0)
    return total


def _precisions(
    updates: Sequence[Update], stacked: Array, counts: Array, support_sigma: float
) -> Array:
    width = int(np.prod(stacked.shape[2:]))
    noise = np.array([relative_noise(update) for update in updates])
    support = denoised_support(counts, size_shares(updates), support_sigma)
    return precision_weights(support, noise, width)


def _average_rows(stacked: Array, weights: Array, shares: Array) -> Array:
    """Average [n_updates, n_rows, ...] by [n_updates, n_rows]; by shares where all are 0."""
    most = weights.max(axis=0)
    known = most > 0
    # By the greatest first: the sum of huge weights would overflow.
    scaled = np.divide(weights, most, out=np.zeros_like(weights), where=known)
    total = scaled.sum(axis=0)
    by_row = np.where(known, scaled / np.where(known, total, 1.0), shares[:, None])
    merged: Array = np.einsum("kj,kj...->j...", by_row, stacked)
    return merged


def _with_support(updates: Sequence[Update], array: str, support: str) -> tuple[Array, Array]:
    stacked, counts = _stack(updates, array), _stack(updates, support)
    if counts.shape != stacked.shape[:2]:
        raise ModelError(
            f"Expected one number of {support!r} for each row of {array!r}, shape "
            f"{stacked.shape[1:2]}, found shape {counts.shape[1:]}."
        )
    # No merchant has that many shoppers: squares of its counts stay finite.
    return stacked, np.clip(counts, -1e12, 1e12)


def _require_some(updates: Sequence[Update]) -> None:
    if not updates:
        raise ModelError(
            "Expected an update of at least one merchant, found none; repeat the round."
        )


def _stack(updates: Sequence[Update], array: str) -> Array:
    """[n_updates, ...] in float64, so that single precision is not summed, and sums finite."""
    _require_some(updates)
    for update in updates:
        if array not in update.arrays:
            raise ModelError(
                f"Expected the array {array!r} of {update.merchant!r}, found only "
                f"{sorted(update.arrays)}."
            )
    shape = updates[0].arrays[array].shape
    for update in updates:
        if update.arrays[array].shape != shape:
            raise ModelError(
                f"Expected {array!r} of shape {shape} as {updates[0].merchant!r} sent it, found "
                f"{update.arrays[array].shape} of {update.merchant!r}; use one catalogue."
            )
    stacked = np.stack([np.asarray(update.arrays[array], dtype=np.float64) for update in updates])
    return np.clip(stacked, -_MOST, _MOST)
