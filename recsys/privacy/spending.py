"""What any list of events costs, full-batch releases and steps of DP-SGD in one sum.

Full-batch Gaussian releases add up exactly (`accounting`). With subsampled steps among them the
privacy loss is composed numerically (`losses`), never approximated by a central limit theorem,
which claims less than it costs. Every answer is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_fraction, require_positive
from recsys.privacy.accounting import epsilon_of, mu_of
from recsys.privacy.events import Budget, GaussianEvent, PrivacyEvent, SubsampledGaussianEvent
from recsys.privacy.losses import COARSE, FINE, Steps, epsilon_on_grid

__all__ = ["Tally", "mu_left", "noise_multiplier_for", "spent"]

_DIGITS = 9000  # numbers with four significant digits in one power of ten
_LEAST_NOISE, _MOST_NOISE = -1, 7  # powers of ten
_MU_PRECISION = 1e-3


@dataclass(frozen=True)
class Tally:
    """Events added up: all that their common cost depends on, in constant room.

    Args:
        square: sum of mu^2 over the Gaussian releases.
        steps: (noise multiplier, sampling rate, how many) of each kind of subsampled step.
    """

    square: float = 0.0
    steps: Steps = ()

    @classmethod
    def of(cls, events: Iterable[PrivacyEvent]) -> Tally:
        """The tally of some events.

        Raises:
            PrivacyError: an event of another kind; its cost is never guessed.
        """
        squares: list[float] = []
        steps: list[tuple[float, float, int]] = []
        for event in events:
            if isinstance(event, GaussianEvent):
                squares.append(event.mu**2)
            elif not isinstance(event, SubsampledGaussianEvent):
                raise PrivacyError(
                    f"Expected events whose cost is known, found {type(event).__name__}; "
                    "its cost cannot be composed here."
                )
            elif event.sampling_rate == 1:  # every shopper in every step: a full-batch release
                squares.append(event.steps / event.noise_multiplier**2)
            else:
                steps.append((event.noise_multiplier, event.sampling_rate, event.steps))
        return cls(math.fsum(squares), _merged(steps))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.square + other.square, _merged(self.steps + other.steps))

    @property
    def gaussian(self) -> bool:
        """Whether mu alone says it all, exactly."""
        return not self.steps

    def epsilon(self, delta: float) -> float:
        """Epsilon that all of it together costs one shopper, at `delta`."""
        mu = math.sqrt(self.square)
        return _epsilon(mu, self.steps, delta, FINE) if self.steps else epsilon_of(mu, delta)

    def mu(self, delta: float) -> float:
        """mu of the Gaussian release that costs as much at `delta`; exact without subsampling.

        Only for showing shares: with subsampled steps, squares of it add up roughly.
        """
        if not self.steps:
            return math.sqrt(self.square)
        epsilon = self.epsilon(delta)
        return mu_of(epsilon, delta) if epsilon > 0 else math.sqrt(self.square)


def spent(events: Iterable[PrivacyEvent], delta: float) -> float:
    """Epsilon that all events together cost one shopper, at `delta`.

    Exact for Gaussian releases. With subsampled steps it is an upper bound within about 0.1 %
    (more for steps that each cost next to nothing), never above what the same steps would cost
    with every shopper in each.

    Privacy: shopper-level, add or remove one.
    """
    return Tally.of(events).epsilon(delta)


def noise_multiplier_for(
    epsilon: float,
    delta: float,
    sampling_rate: float,
    steps: int,
    beside: Sequence[PrivacyEvent] = (),
) -> float:
    """Smallest noise multiplier at which `steps` together with `beside` cost at most `epsilon`.

    Rounded up to four significant digits, so that everyone who computes it finds the same number
    whatever the last bits of their machine do; 0.1 at least.

    Args:
        epsilon, delta: of everything together.
        sampling_rate: q, above 0 and at most 1.
        steps: how many.
        beside: everything else that the same study releases.

    Raises:
        PrivacyError: `beside` leaves too little, or a setting is impossible.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)
    SubsampledGaussianEvent("steps", 1.0, sampling_rate, steps)
    return _noise_multiplier(epsilon, delta, sampling_rate, steps, Tally.of(beside))


def mu_left(budget: Budget, used: Tally) -> float:
    """Largest mu of a Gaussian release that still fits `budget` beside `used`; 0 if none does.

    Exact if all is Gaussian, else at most 0.2 % too small.
    """
    whole = mu_of(budget.epsilon, budget.delta)
    if used.gaussian:
        return math.sqrt(max(0.0, whole**2 - used.square))
    return _mu_left(budget.epsilon, budget.delta, used)


def _merged(steps: Iterable[tuple[float, float, int]]) -> Steps:
    counts: dict[tuple[float, float], int] = {}
    for noise, rate, count in steps:
        counts[noise, rate] = counts.get((noise, rate), 0) + count
    return tuple((noise, rate, count) for (noise, rate), count in sorted(counts.items()))


@lru_cache(maxsize=4096)
def _epsilon(mu: float, steps: Steps, delta: float, finest: float) -> float:
    # Sampling only helps: a step with every shopper in it dominates one with a sample.
    square = math.fsum(count / noise**2 for noise, _, count in steps)
    without_sampling = epsilon_of(math.hypot(mu, math.sqrt(square)), delta)
    return min(without_sampling, epsilon_on_grid(mu, steps, delta, finest))


@lru_cache(maxsize=256)
def _noise_multiplier(
    epsilon: float, delta: float, rate: float, steps: int, beside: Tally
) -> float:
    def fits(code: int, finest: float) -> bool:
        event = SubsampledGaussianEvent("steps", _four_digits(code), rate, steps)
        tally = beside + Tally.of([event])
        mu = math.sqrt(tally.square)
        if tally.gaussian:
            return epsilon_of(mu, delta) <= epsilon
        return _epsilon(mu, tally.steps, delta, finest) <= epsilon

    low, high = _LEAST_NOISE * _DIGITS, _MOST_NOISE * _DIGITS
    if not fits(high, COARSE):
        raise PrivacyError(
            f"Expected room for {steps} steps within epsilon {epsilon:g} at delta {delta:g}; the "
            f"other releases alone cost epsilon {beside.epsilon(delta):.4g}. Give them less, or "
            "raise epsilon."
        )
    if fits(low, FINE):
        return _four_digits(low)
    # The coarse grid is quick and asks for more noise, never for less.
    high = _first(lambda code: fits(code, COARSE), low, high)
    stride = 1
    while high - stride > low and fits(high - stride, FINE):
        high, stride = high - stride, 2 * stride
    return _four_digits(_first(lambda code: fits(code, FINE), max(low, high - stride), high))


def _first(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Smallest number above `low` that fits; `high` does."""
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


def _four_digits(code: int) -> float:
    """Numbers with four significant digits in order: 0 is 1.000, 1 is 1.001, 9000 is 10.00."""
    power, mantissa = divmod(code, _DIGITS)
    return float(f"{1000 + mantissa}e{power - 3}")


@lru_cache(maxsize=256)
def _mu_left(epsilon: float, delta: float, used: Tally) -> float:
    def fits(mu: float) -> bool:
        return (
            _epsilon(math.hypot(mu, math.sqrt(used.square)), used.steps, delta, COARSE) <= epsilon
        )

    whole = mu_of(epsilon, delta)
    if not fits(0.0):
        return 0.0
    # Squares add up roughly, so the answer is nearly always close to this.
    guess = math.sqrt(max(0.0, whole**2 - used.mu(delta) ** 2))
    low, high = 0.97 * guess, min(whole, 1.03 * guess)
    if not fits(low) or fits(high):
        low, high = 0.0, whole
    while high - low > _MU_PRECISION * whole:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
