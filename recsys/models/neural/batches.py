"""Histories as tensors: for every purchase after the first, what came before it and what else
could have been bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from recsys.data.interactions import Interactions
from recsys.models.neural.features import ToyFeatures
from recsys.models.neural.weights import DECAYS, N_SIGNALS

__all__ = ["Batch", "make_batch", "pieces_of"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """n shoppers, the newest l toys of each, p = l - 1 of them to foretell, k other toys.

    Args:
        toys: int64 [n, l + k], each shopper's toys, then the others.
        features: float64 [n, l + k, F] of those toys.
        newest, slow: float64 [n, p, l], weights of the toys before each: the last one; all.
        signals: float64 [n, p, 1 + k, S] of the toy bought, then of the others.
        hidden: bool [n, p, 1 + k], others that are the toy bought.
        stands_for: float64 [1 + k], log of how many toys each stands for in the softmax over all:
            1 for the toy bought, n_items / k for the others, which are drawn uniformly.
        shares: float64 [n, p], one over a shopper's number of toys to foretell; 0 is padding.

    Privacy: stays at the merchant. Row i depends on shopper i and public numbers alone.
    """

    toys: torch.Tensor
    features: torch.Tensor
    newest: torch.Tensor
    slow: torch.Tensor
    signals: torch.Tensor
    hidden: torch.Tensor
    stands_for: torch.Tensor
    shares: torch.Tensor


def make_batch(
    histories: Interactions,
    others: npt.NDArray[np.int64],
    features: ToyFeatures,
    popularity: Float,
    length: int,
) -> Batch:
    """Lay out one batch.

    Args:
        histories: the shoppers of the batch.
        others: int64 [k], public negatives, the same for everybody. (Toys of other shoppers in
            the batch must not serve: one shopper would then change another's gradient.)
        features: of the catalogue.
        popularity: float64 [n_items], public.
        length: l, at least 2; shorter histories are padded and longer ones cut to the newest.
    """
    toys, mask = _padded(histories, length)
    recency = _recency(toys, mask)
    n, k = len(toys), len(others)
    signals = np.empty((n, length - 1, 1 + k, N_SIGNALS))
    stacked = torch.from_numpy(np.concatenate(recency, axis=1))
    for block, rows in enumerate(features.blocks):
        own, other = _similarities(rows, toys, others)
        to_others = torch.bmm(stacked, torch.from_numpy(other)).numpy()
        for place, weights in enumerate(recency):
            column = block * len(DECAYS) + place
            at = slice(place * (length - 1), (place + 1) * (length - 1))
            signals[:, :, 0, column] = (weights * own[:, 1:, :]).sum(axis=-1)
            signals[:, :, 1:, column] = to_others[:, at]
    signals[:, :, 0, -1] = popularity[toys[:, 1:]]
    signals[:, :, 1:, -1] = popularity[others]
    every = np.concatenate([toys, np.tile(others, (n, 1))], axis=1)
    hidden = np.zeros((n, length - 1, 1 + k), dtype=bool)
    hidden[:, :, 1:] = toys[:, 1:, None] == others
    stands_for = np.full(1 + k, np.log(features.n_items / k))
    stands_for[0] = 0.0
    wanted = mask[:, 1:].astype(np.float64)
    shares = wanted / np.maximum(1.0, wanted.sum(axis=1, keepdims=True))
    slow = recency[-1] / np.maximum(1e-9, recency[-1].sum(axis=-1, keepdims=True))
    return Batch(
        *map(
            torch.from_numpy,
            (every, features.dense[every], recency[0], slow, signals, hidden, stands_for, shares),
        )
    )


def _padded(
    histories: Interactions, length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Toys [n, l] oldest first from the left, and where there is one."""
    newest = histories.last(length)
    toys = np.zeros((newest.n_shoppers, length), dtype=np.int64)
    mask = np.arange(length) < newest.lengths[:, None]
    toys[mask] = newest.items
    return toys, mask


def _recency(toys: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> list[Float]:
    """For each decay, float64 [n, p, l]: weight of toy h for foretelling toy p + 1.

    As in `Interactions.recency_csr`, a toy bought again counts once, by its newest purchase.
    """
    length = toys.shape[1]
    places = np.arange(length)
    later = (toys[:, :, None] == toys[:, None, :]) & mask[:, None, :]
    later &= places[None, None, :] > places[None, :, None]
    repeated = np.where(later, places, length).min(axis=2, initial=length)
    target = places[1:, None]
    counts = (places[None, :] < target)[None] & mask[:, None, :]
    counts = counts & (repeated[:, None, :] >= target[None])
    ages = np.maximum(0, target - 1 - places[None, :])
    return [counts * np.power(decay, ages) for decay in DECAYS]


def _similarities(
    rows: sp.csr_matrix, toys: npt.NDArray[np.int64], others: npt.NDArray[np.int64]
) -> tuple[Float, Float]:
    """Cosines of each shopper's toys to one another [n, l, l] and to the others [n, l, k]."""
    used, place = np.unique(toys, return_inverse=True)
    place = place.reshape(toys.shape)
    known = rows[used]
    other = (known @ rows[others].T).toarray()[place]
    own = (known @ known.T).toarray()
    return own[place[:, :, None], place[:, None, :]], other


def pieces_of(lengths: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    """Cut a batch into pieces of like lengths, which fit in memory; none for an empty one."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]
