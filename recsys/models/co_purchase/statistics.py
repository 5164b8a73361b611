"""The two sums over shoppers: buyers of each toy, and purchases of listed pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.co_purchase.cells import PairCells
from recsys.models.co_purchase.plan import COUNTS, PAIRS, CoPurchasePlan
from recsys.models.co_purchase.settings import CoPurchaseSettings
from recsys.models.private_als.counts import exact_counts
from recsys.privacy import GaussianEvent, SecureNoise

__all__ = ["counts_release", "exact_pairs", "pairs_release"]

Floats = npt.NDArray[np.float64]

_PAIRS = 250_000  # about as many at once: memory must not tell of one shopper
_LONGEST = 1000  # newest purchases of a shopper that are looked at, for the same reason
_HAIR = 1.0 - 1e-12  # keeps a clipped norm below the bound when it is rounded
_STEP = 2.0**-32  # sums of multiples are exact up to 2 million, in whatever order they are added


def exact_pairs(
    interactions: Interactions, cells: PairCells, settings: CoPurchaseSettings, clip: bool = True
) -> Floats:
    """Sum over shoppers of x_u min(1, 1 / |x_u|), with

        x_u[i, j] = sum over purchases of i and j that lie g <= window apart of gap_decay^(g-1)

    Clipped weights are rounded down to multiples of 2^-32: their sums are exact, so that a
    shopper changes no rounding error of the others' part.

    Args:
        interactions: one merchant's, in order of time; of a shopper the newest 1000 count.
        cells: the public list; pairs that are not on it count nothing.
        settings: window and gap_decay.
        clip: False leaves each shopper's vector as long as it is, for the merchant's own use.

    Returns:
        float64 [n_cells].

    Raises:
        ModelError: a list over another catalogue.

    Privacy: stays at the merchant; clipped, its L2 sensitivity is 1, add or remove one shopper.
    """
    if cells.n_items != interactions.n_items:
        raise ModelError(
            f"Expected pairs over {interactions.n_items} toys, found a list over "
            f"{cells.n_items}. Use one catalogue."
        )
    newest = interactions.last(_LONGEST)
    sums = np.zeros(cells.n_cells)
    blocks = newest.indptr[:-1] // max(1, _PAIRS // settings.window)
    for rows in np.split(np.arange(newest.n_shoppers), np.flatnonzero(np.diff(blocks)) + 1):
        shopper, cell, weight = _listed_pairs(newest.rows(rows), cells, settings)
        if clip:
            norms = np.sqrt(np.bincount(shopper, weight**2, minlength=rows.size))
            weight = weight * (_HAIR / np.maximum(norms, 1.0))[shopper]
            weight = np.floor(weight / _STEP) * _STEP
        np.add.at(sums, cell, weight)
    return sums


def _listed_pairs(
    interactions: Interactions, cells: PairCells, settings: CoPurchaseSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Shopper, cell and weight, each cell of a shopper once."""
    items, rows = interactions.items.astype(np.int64), interactions.row_index
    keys = cells.keys
    found: list[npt.NDArray[np.int64]] = []
    weights: list[Floats] = []
    longest = int(interactions.lengths.max(initial=0)) if keys.size else 0
    for gap in range(1, min(settings.window, longest - 1) + 1):
        older, newer = items[:-gap], items[gap:]
        key = np.minimum(older, newer) * cells.n_items + np.maximum(older, newer)
        place = np.minimum(np.searchsorted(keys, key), keys.size - 1)
        counted = (rows[gap:] == rows[:-gap]) & (keys[place] == key)
        found.append(rows[gap:][counted].astype(np.int64) * cells.n_cells + place[counted])
        weights.append(np.full(int(counted.sum()), settings.gap_decay ** (gap - 1)))
    if not found:
        nothing = np.empty(0, dtype=np.int64)
        return nothing, nothing, np.empty(0)
    unique, index = np.unique(np.concatenate(found), return_inverse=True)
    shopper, cell = np.divmod(unique, cells.n_cells)
    summed: Floats = np.zeros(unique.size)
    np.add.at(summed, index, np.concatenate(weights))
    return shopper, cell, summed


def counts_release(
    interactions: Interactions, plan: CoPurchasePlan, noise: SecureNoise
) -> tuple[Floats, float, GaussianEvent]:
    """Noised buyers of each toy float64 [n_items], noised number of shoppers, event to book.

    Privacy: shopper-level, add or remove one; the plan's phase 'counts'.
    """
    planned = plan.phases[COUNTS]
    keys = noise.uniform(interactions.csr().nnz)
    exact = exact_counts(interactions, plan.settings.count_bound, keys)
    noised, event = noise.release_sum(exact, planned.sensitivity, planned.sigma, planned.what)
    return noised[:-1], float(noised[-1]), event


def pairs_release(
    interactions: Interactions, cells: PairCells, plan: CoPurchasePlan, noise: SecureNoise
) -> tuple[npt.NDArray[np.float32], GaussianEvent]:
    """Noised purchases of the listed pairs, float32 [n_cells], and the event to book.

    Privacy: shopper-level, add or remove one; the plan's phase 'pairs'.
    """
    planned = plan.phases[PAIRS]
    exact = exact_pairs(interactions, cells, plan.settings)
    noised, event = noise.release_sum(exact, planned.sensitivity, planned.sigma, planned.what)
    return noised.astype(np.float32), event
