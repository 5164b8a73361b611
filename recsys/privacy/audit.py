"""Does a mechanism keep its promise? Statistical tests that broken noise does not pass.

Canaries are shoppers whose contribution to a release is known. With `mu` promised, the score
<release - known part, contribution> / (sigma |contribution|) of a canary that took part exceeds
that of one that did not by at most mu standard deviations. Canaries alone miss a sum that was not
noised at all beside one that was, and noise used twice; `noise_problems` and `reuse_problems`
look for those.

Source: Steinke, Nasr, Jagielski, Privacy auditing with one training run, NeurIPS 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtri

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_fraction, require_positive

__all__ = ["CanaryAudit", "audit_canaries", "noise_problems", "reuse_problems"]

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
