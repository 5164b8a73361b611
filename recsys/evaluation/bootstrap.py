"""How sure a mean over shoppers is: bootstrap intervals, paired where two models are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError

__all__ = ["Difference", "intervals", "paired_difference"]

Floats = npt.NDArray[np.float64]
DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean paired difference, its interval, and its standard error, in units of the metric."""

    mean: float
    low: float
    high: float
    standard_error: float


def intervals(
    per_shopper: Mapping[str, Floats],
    rng: np.random.Generator,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> dict[str, tuple[float, float]]:
    """Return percentile bootstrap intervals of each metric's mean over shoppers.

    (Efron & Tibshirani 1993, chapter 13.) All metrics share the same resamples of shoppers.

    Args:
        per_shopper: metric to float64 [n]; NaN values are left out of that metric's means.
        rng: source of the resamples.
        draws: number of resamples.
        level: probability that the interval is to have.

    Returns:
        Metric to (low, high); NaN without any shopper.
    """
    if not per_shopper:
        return {}
    names = list(per_shopper)
    table = np.column_stack([per_shopper[name] for name in names])
    if table.shape[0] == 0:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    means = np.empty((draws, len(names)))
    for start, counts in _resamples(table.shape[0], draws, rng):
        with np.errstate(invalid="ignore"):
            means[start : start + counts.shape[0]] = (counts @ filled) / (counts @ known)
    tail = (1 - level) / 2
    bounds = {name: (float("nan"), float("nan")) for name in names}
    for place, name in enumerate(names):
        if known[:, place].any():
            low, high = np.nanquantile(means[:, place], [tail, 1 - tail])
            bounds[name] = (float(low), float(high))
    return bounds


def paired_difference(
    first: Floats,
    second: Floats,
    rng: np.random.Generator,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Difference:
    """Compare two models on the same shoppers: mean of second - first with its interval.

    Args:
        first, second: float64 [n], the same metric of the same shoppers in the same order;
            shoppers for whom either is NaN are left out.
        rng, draws, level: as for `intervals`.

    Raises:
        ModelError: arrays of different length.
    """
    if first.shape != second.shape:
        raise ModelError(
            f"Expected one value per shopper from both models, found {first.size} and "
            f"{second.size}. Evaluate both on the same targets."
        )
    gain = second - first
    gain = gain[~np.isnan(gain)]
    if gain.size == 0:
        nan = float("nan")
        return Difference(nan, nan, nan, nan)
    low, high = intervals({"gain": gain}, rng, draws, level)["gain"]
    error = float(gain.std(ddof=1) / np.sqrt(gain.size)) if gain.size > 1 else float("nan")
    return Difference(float(gain.mean()), low, high, error)


def _resamples(
    n: int, draws: int, rng: np.random.Generator, cells: int = 1 << 22
) -> Iterator[tuple[int, Floats]]:
    """Yield (first draw, how often each shopper was drawn [some draws, n])."""
    size = max(1, cells // n)
    for start in range(0, draws, size):
        some = min(size, draws - start)
        drawn = rng.integers(n, size=(some, n)) + np.arange(some)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
        yield start, counts.astype(np.float64)
