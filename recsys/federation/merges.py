"""Merges: one array from the updates of many merchants. All are post-processing, free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.federation.update import Update

__all__ = ["fedavg", "sum_statistics", "support_weighted"]

Array = npt.NDArray[np.float64]


def fedavg(updates: Sequence[Update], array: str) -> Array:
    """Federated averaging: w = sum_k (n_k / n) w_k, with n = sum_k n_k.

    Args:
        updates: one merchant each; n_k is the update's weight, public or noised.
        array: name of the array to merge.

    Returns:
        float64, the shape that every merchant sent.

    Raises:
        ModelError: no updates, an array that is missing or of another shape, or weights that
            are all 0.

    Source: McMahan et al., Communication-efficient learning of deep networks, AISTATS 2017.
    """
    stacked = _stack(updates, array)
    weights = np.array([update.weight for update in updates], dtype=np.float64)
    total = weights.sum()
    if not total > 0:
        raise ModelError(
            f"Expected a weight above 0 among {_names(updates)}, found only 0; "
            "send max(1, noised number of shoppers)."
        )
    merged: Array = np.tensordot(weights / total, stacked, axes=1)
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
    plain = fedavg(updates, array)
    stacked, weights = _stack(updates, array), np.maximum(_stack(updates, support), 0.0)
    if weights.shape != stacked.shape[:2]:
        raise ModelError(
            f"Expected one number of {support!r} for each row of {array!r}, shape "
            f"{stacked.shape[1:2]}, found shape {weights.shape[1:]}."
        )
    total = weights.sum(axis=0)
    known = total > 0
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=known)
    merged: Array = np.einsum("kj,kj...->j...", shares, stacked)
    merged[~known] = plain[~known]
    return merged


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
    return {name: _stack(updates, name).sum(axis=0) for name in sorted(names)}


def _require_some(updates: Sequence[Update]) -> None:
    if not updates:
        raise ModelError(
            "Expected an update of at least one merchant, found none; repeat the round."
        )


def _names(updates: Sequence[Update]) -> list[str]:
    return [update.merchant for update in updates]


def _stack(updates: Sequence[Update], array: str) -> Array:
    """[n_updates, ...] in float64, so that single precision is not summed."""
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
    return np.stack([np.asarray(update.arrays[array], dtype=np.float64) for update in updates])
