"""Exact accounting for Gaussian releases over all of a merchant's shoppers.

k releases with mu_1..mu_k are together one release with mu = sqrt(sum mu_i^2), with no loss, and

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

Source: Balle, Wang, Improving the Gaussian mechanism, ICML 2018 (theorem 8); Dong, Roth, Su,
Gaussian differential privacy, JRSS-B 2022 (corollary 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from scipy.special import erfcx, log_ndtr

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_fraction, require_not_negative, require_positive
from recsys.privacy.events import GaussianEvent

__all__ = ["compose", "delta_of", "epsilon_of", "mu_of"]

_TOLERANCE = 1e-18  # absolute; of all but the tiniest roots the relative one below decides
_RELATIVE = 1e-14
# What we answer is moved this far (relative) to the safe side of the root, so that rounding
# in the root finder never promises more than holds.
_SAFETY = 1e-12


def _log_delta(epsilon: float, mu: float) -> float:
    """log delta(epsilon); -inf where delta is 0 in every float."""
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    if near > 0:
        # Phi(-x) = exp(-x^2/2) erfcx(x/sqrt 2) / 2, and far^2/2 - near^2/2 = epsilon: the two
        # terms share their exponential, which leaves a difference without cancellation.
        gap = float(erfcx(near / math.sqrt(2)) - erfcx(far / math.sqrt(2)))
        return math.log(gap / 2) - near**2 / 2 if gap > 0 else -math.inf
    first = float(log_ndtr(-near))
    ratio = epsilon + float(log_ndtr(-far)) - first
    return first + math.log(-math.expm1(ratio)) if ratio < 0 else -math.inf


def delta_of(epsilon: float, mu: float) -> float:
    """delta(epsilon) of a Gaussian release, accurate also where delta is tiny.

    Args:
        epsilon: 0 or more.
        mu: sensitivity / sigma, 0 or more; 0 is no release at all.
    """
    require_not_negative("epsilon", epsilon)
    require_not_negative("mu", mu)
    return math.exp(_log_delta(epsilon, mu)) if mu > 0 else 0.0


def epsilon_of(mu: float, delta: float) -> float:
    """Smallest epsilon at which a Gaussian release with `mu` is (epsilon, delta)-DP."""
    require_not_negative("mu", mu)
    require_fraction("delta", delta)
    if mu == 0 or delta_of(0.0, mu) <= delta:
        return 0.0

    def excess(epsilon: float) -> float:
        return max(_log_delta(epsilon, mu), -1e300) - math.log(delta)

    high = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return _root(excess, 0.0, high) * (1 + _SAFETY) + _TOLERANCE


def mu_of(epsilon: float, delta: float) -> float:
    """Largest mu at which a Gaussian release is (epsilon, delta)-DP; sigma = sensitivity / mu.

    At delta = 1e-5, 1/mu is 7.03, 3.73, 1.99 and .892 for epsilon .5, 1, 2 and 5.
    """
    require_positive("epsilon", epsilon)
    require_fraction("delta", delta)

    def excess(mu: float) -> float:
        return max(_log_delta(epsilon, mu), -1e300) - math.log(delta)

    high = 1.0
    while excess(high) < 0:
        high *= 2
    low = high / 2
    while excess(low) > 0:
        low /= 2
    return max(0.0, _root(excess, low, high) * (1 - _SAFETY) - _TOLERANCE)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq  # a sixth of a second that most callers do not need

    return float(brentq(function, low, high, xtol=_TOLERANCE, rtol=_RELATIVE, maxiter=500))


def compose(events: Iterable[GaussianEvent]) -> float:
    """mu of all events together, sqrt(sum mu_i^2), for one shopper at one merchant.

    Raises:
        PrivacyError: an event of another kind; its cost is never guessed.
    """
    squares = []
    for event in events:
        if not isinstance(event, GaussianEvent):
            raise PrivacyError(
                f"Expected gaussian events, found {type(event).__name__}; "
                "its cost cannot be composed here."
            )
        squares.append(event.mu**2)
    return math.sqrt(math.fsum(squares))
