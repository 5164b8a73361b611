"""Does a mechanism keep its promise? Statistical tests that broken noise does not pass.

Canaries are shoppers whose contribution to a release is known. With `mu` promised, the score
<release - known part, contribution> / (sigma |contribution|) of a canary that took part exceeds
that of one that did not by at most mu standard deviations. Canaries alone miss a sum that was not
noised at all beside one that was, and noise used twice; `noise_problems` and `reuse_problems`
look for those.

Scores of DP-SGD are mixtures, not Gaussian, and its promise is an epsilon, not a mu:
`audit_guesses` asks only how often a guess from a score is right.

Source: Steinke, Nasr, Jagielski, Privacy auditing with one training run, NeurIPS 2023; Jagielski,
Ullman, Oprea, Auditing differentially private machine learning, NeurIPS 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, chdtri, ndtri

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_fraction, require_not_negative, require_positive

__all__ = [
    "CanaryAudit",
    "GuessAudit",
    "audit_canaries",
    "audit_guesses",
    "noise_problems",
    "reuse_problems",
]

Float = npt.NDArray[np.float64]
FALSE_ALARM = 1e-7
"""Chance that a correct mechanism is rejected by one test."""


@dataclass(frozen=True)
class CanaryAudit:
    """What canaries say about a release.

    Args:
        promised: mu of the booked events.
        estimate: mu that the scores show.
        low: lower confidence bound of mu.
    """

    promised: float
    estimate: float
    low: float

    @property
    def passed(self) -> bool:
        """Whether the scores are compatible with the promise."""
        return self.low <= self.promised


def audit_canaries(
    present: Float, absent: Float, promised: float, false_alarm: float = FALSE_ALARM
) -> CanaryAudit:
    """Compare the scores of canaries that took part with those of canaries that did not.

        estimate = (mean(present) - mean(absent)) / pooled standard deviation

    Args:
        present: float64 [n], 10 scores or more.
        absent: float64 [m], 10 scores or more.
        promised: mu of the booked events together.
        false_alarm: chance that a correct mechanism with Gaussian scores is rejected.

    Raises:
        PrivacyError: too few canaries to say anything.

    Privacy: a test at the merchant or in simulation; scores need the exact sums and never leave.
    """
    require_positive("promised", promised)
    require_fraction("false_alarm", false_alarm)
    fewest = min(len(present), len(absent))
    if fewest < 10:
        raise PrivacyError(f"Expected 10 canaries or more on both sides, found {fewest}.")
    spread = math.sqrt((float(np.var(present, ddof=1)) + float(np.var(absent, ddof=1))) / 2)
    gap = float(np.mean(present) - np.mean(absent))
    if spread == 0:
        estimate = math.inf if gap else 0.0
        return CanaryAudit(promised, estimate, estimate)
    estimate = gap / spread
    # Standard error of a standardised difference of means (Hedges, 1981).
    total = len(present) + len(absent)
    error = math.sqrt(total / (len(present) * len(absent)) + estimate**2 / (2 * total))
    return CanaryAudit(promised, estimate, estimate - float(-ndtri(false_alarm)) * error)


@dataclass(frozen=True)
class GuessAudit:
    """What guesses who took part say about a release.

    Args:
        promised: epsilon of the booked events at the audit's delta.
        low: lower confidence bound of epsilon; 0 if the guesses show nothing.
    """

    promised: float
    low: float

    @property
    def passed(self) -> bool:
        """Whether the guesses are compatible with the promise."""
        return self.low <= self.promised


def audit_guesses(
    present: Float,
    absent: Float,
    promised: float,
    delta: float,
    false_alarm: float = FALSE_ALARM,
) -> GuessAudit:
    """Bound epsilon from below by the guess "took part if the score is above a threshold".

    For any (epsilon, delta)-DP mechanism, TPR <= e^epsilon FPR + delta and
    1 - FPR <= e^epsilon (1 - TPR) + delta. One half of the scores chooses the threshold, the other
    half is counted, with exact (Clopper-Pearson) bounds on both rates. n scores a side show an
    epsilon of at most about log(n / 17).

    Args:
        present, absent: float64 [n] and [m], independent runs with and without the canary,
            100 or more each.
        promised: epsilon of the booked events together, at `delta`.
        delta: strictly between 0 and 1.
        false_alarm: chance that a correct mechanism is rejected.

    Raises:
        PrivacyError: too few runs to say anything.

    Privacy: a test at the merchant or in simulation; scores never leave.
    """
    require_not_negative("promised", promised)
    require_fraction("delta", delta)
    require_fraction("false_alarm", false_alarm)
    fewest = min(len(present), len(absent))
    if fewest < 100:
        raise PrivacyError(f"Expected 100 runs or more on both sides, found {fewest}.")
    chosen_on = present[::2], absent[::2]
    candidates = np.unique(np.quantile(np.concatenate(chosen_on), np.linspace(0.0, 1.0, 101)))
    threshold = max(
        candidates, key=lambda one: _epsilon_shown(*chosen_on, float(one), delta, false_alarm)
    )
    counted_on = present[1::2], absent[1::2]
    return GuessAudit(promised, _epsilon_shown(*counted_on, float(threshold), delta, false_alarm))


def _epsilon_shown(
    present: Float, absent: Float, threshold: float, delta: float, false_alarm: float
) -> float:
    """Lower confidence bound of epsilon, from guessing at one threshold."""
    found, alarms = int(np.sum(present > threshold)), int(np.sum(absent > threshold))
    # Each of the two inequalities needs a rate from above and one from below.
    share = false_alarm / 4
    hits = _rate_at_least(found, len(present), share), _rate_at_most(alarms, len(absent), share)
    quiet = len(absent) - alarms, len(present) - found
    passes = (
        _rate_at_least(quiet[0], len(absent), share),
        _rate_at_most(quiet[1], len(present), share),
    )
    return max(
        [0.0] + [math.log((high - delta) / low) for high, low in (hits, passes) if high > delta]
    )


def _rate_at_least(count: int, of: int, chance: float) -> float:
    return float(betaincinv(count, of - count + 1, chance)) if count else 0.0


def _rate_at_most(count: int, of: int, chance: float) -> float:
    return float(betaincinv(count + 1, of - count, 1 - chance)) if count < of else 1.0


def noise_problems(residuals: Float, sigma: float, false_alarm: float = FALSE_ALARM) -> list[str]:
    """Say what is wrong with the size of noise; an empty list if nothing is.

    Args:
        residuals: released minus exact, float64 [n].
        sigma: of the booked event.
        false_alarm: chance that correct noise is called wrong.
    """
    require_positive("sigma", sigma)
    n = residuals.size
    ratio = float(np.sum((residuals / sigma) ** 2))
    low, high = chdtri(n, 1 - false_alarm / 2), chdtri(n, false_alarm / 2)
    problems = []
    if not low <= ratio <= high:
        problems.append(
            f"Expected a variance between {low / n:.3f} and {high / n:.3f} of what was booked, "
            f"found {ratio / n:.3f}."
        )
    mean = float(np.sum(residuals / sigma)) / math.sqrt(n)
    if abs(mean) > -ndtri(false_alarm / 2):
        problems.append(f"Expected noise around 0, found it {mean:.1f} standard errors away.")
    return problems


def reuse_problems(first: Float, second: Float, false_alarm: float = FALSE_ALARM) -> list[str]:
    """Say whether two releases share noise; an empty list if they do not.

    Args:
        first, second: released minus exact of two releases, float64 [n], n of 100 or more.
        false_alarm: chance that independent noise is called shared.
    """
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    correlation = float(np.vdot(first, second)) / scale if scale else 1.0
    if abs(correlation) * math.sqrt(first.size) <= -ndtri(false_alarm / 2):
        return []
    return [f"Expected independent noise, found a correlation of {correlation:.3f}."]
