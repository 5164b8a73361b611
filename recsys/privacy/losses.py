"""Privacy loss of Poisson-subsampled Gaussian steps, on a grid that rounds to the safe side.

The privacy loss distributions of adding and of removing one shopper are laid on a grid of losses
by "connect the dots", which only ever overstates delta, and composed by FFT. Grids are powers of
two, so that a coarser one holds every dot of a finer one and costs more, never less.

Source: Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, Connect the dots, PoPETs 2022; computed by
Google's dp_accounting.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

__all__ = ["COARSE", "FINE", "Steps", "epsilon_on_grid"]

Steps = tuple[tuple[float, float, int], ...]
"""(noise multiplier, sampling rate, how many) of each kind of step, sorted, no kind twice."""

FINE, COARSE = 2.0**-12, 2.0**-9
_COARSEST = 2.0**-2
_MOST_POINTS, _MOST_COMPOSED = 1 << 17, 1 << 21
_TAIL = 1e-15
# FFT rounding moved delta by at most 2e-16 for each step composed, measured from 100 to a million
# steps; five times that is taken off the delta that may be used.
_ROUNDING = 1e-15
_SAFETY = 1e-12


def epsilon_on_grid(mu: float, steps: Steps, delta: float, finest: float = FINE) -> float:
    """Upper bound on epsilon at `delta` of a Gaussian release with `mu` and `steps` together.

    Args:
        mu: 0 or more.
        steps: at least one kind.
        delta: strictly between 0 and 1.
        finest: width of the grid; it grows where that would need too many points.

    Returns:
        infinity if the grid cannot tell: a loss beyond every use, or a delta that is smaller than
        what rounding may hide.
    """
    grid = _grid_for(mu, steps, finest)
    usable = delta - _ROUNDING * (1 + sum(count for _, _, count in steps))
    if grid > _COARSEST or usable <= 0:
        return math.inf
    composed = _all_steps(steps, grid)
    if mu > 0:
        composed = composed.compose(_one_step(1 / mu, 1.0, grid), _TAIL)
    return float(composed.get_epsilon_for_delta(usable)) * (1 + _SAFETY)


@lru_cache(maxsize=4)
def _all_steps(steps: Steps, grid: float) -> Any:
    composed: Any = None
    for noise, rate, count in steps:
        part = _one_step(noise, rate, grid)
        if count > 1:
            part = part.self_compose(count, _TAIL)
        composed = part if composed is None else composed.compose(part, _TAIL)
    return composed


@lru_cache(maxsize=32)
def _one_step(noise: float, rate: float, grid: float) -> Any:
    # A second that who releases only Gaussian sums does not need.
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    return from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=grid, pessimistic_estimate=True
    )


def _grid_for(mu: float, steps: Steps, finest: float) -> float:
    """`finest`, doubled until the points fit; never finer for what costs more."""
    widths = [_width(1 / noise) for noise, _, _ in steps] + [_width(mu)]
    # A composition spans some six single losses, and drifts by at most its mean.
    total = 6 * math.fsum(widths) + math.fsum(
        count * _mean(noise, rate) for noise, rate, count in steps
    )
    grid = finest
    while grid <= _COARSEST and (
        max(widths) > _MOST_POINTS * grid or total > _MOST_COMPOSED * grid
    ):
        grid *= 2
    return grid


def _width(mu: float) -> float:
    """How wide the losses of one release reach: ten standard deviations to either side."""
    return 20 * mu + mu**2


def _mean(noise: float, rate: float) -> float:
    """Bound on the mean loss of one step: KL is at most chi-square, and less without sampling."""
    square = noise**-2
    return min(square / 2, rate**2 * math.expm1(min(square, 50.0)))
