"""Who gains: light and heavy shoppers, small and large merchants, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.evaluation.bootstrap import paired_difference

__all__ = ["bought_groups", "by_group"]

Floats = npt.NDArray[np.float64]
_BANDS = ((0, 1), (2, 3), (4, 7), (8, 15), (16, None))


def bought_groups(purchases: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.bool_]]:
    """Name to bool [n]: shoppers by how much they had bought before; empty groups are left out.

    Args:
        purchases: integers [n], purchases known of each shopper.
    """
    found = {}
    for low, high in _BANDS:
        inside = (purchases >= low) & (True if high is None else purchases <= high)
        name = f"{low} or more" if high is None else f"{low} to {high}"
        if inside.any():
            found[name] = inside
    return found


def by_group(
    before: Floats,
    after: Floats,
    groups: Mapping[str, npt.NDArray[np.bool_]],
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Means of two models, and their paired difference with its interval, in each group.

    Args:
        before, after: float64 [n], the same metric of the same shoppers under two models.
        groups: name to bool [n].
        rng: source of the bootstrap.

    Privacy: exact; for a simulation or the merchant's own pages.
    """
    found = {}
    for name, inside in groups.items():
        gain = paired_difference(before[inside], after[inside], rng)
        found[name] = {
            "alone": float(before[inside].mean()),
            "together": float(after[inside].mean()),
            "gain": gain.mean,
            "low": gain.low,
            "high": gain.high,
            "n": float(inside.sum()),
        }
    return found
