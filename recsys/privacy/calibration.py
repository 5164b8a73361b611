"""From a budget to noise: how much mu each phase of a study may spend."""

from __future__ import annotations

import math
from collections.abc import Mapping

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_not_negative
from recsys.privacy.accounting import mu_of
from recsys.privacy.events import Budget

__all__ = ["split_budget"]

# Squares of the parts are summed again by whoever checks; this covers their rounding.
_SLACK = 1.0 - 1e-12


def split_budget(budget: Budget, shares: Mapping[str, float]) -> dict[str, float]:
    """Split a budget over phases: mu_k = mu(budget) sqrt(share_k / sum of shares).

    Gaussian releases compose by their squares, so shares are of mu^2: ten equal phases at a total
    epsilon of 1 need noise of 11.8 sensitivities each, where splitting epsilon would need 53.

    Args:
        budget: of one shopper at one merchant, for everything that is released.
        shares: phase -> share, 0 or more; a phase with share 0 may release nothing and is left out.

    Raises:
        PrivacyError: no phase has a share above 0, or a share is negative.
    """
    for name, share in shares.items():
        require_not_negative(f"share of {name}", share)
    total = math.fsum(shares.values())
    if total <= 0:
        raise PrivacyError(
            f"Expected a phase with a share above 0 among {sorted(shares)}, found none."
        )
    mu = mu_of(budget.epsilon, budget.delta) * _SLACK
    return {name: mu * math.sqrt(share / total) for name, share in shares.items() if share > 0}
