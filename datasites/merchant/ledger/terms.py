"""How long a budget is for: for good, or for a period that a person renews, with a cap for ever.

A period is renewed by a booked act of a person, never by the clock alone: a clock that is set far
forward by mistake would otherwise give each shopper's budget away once more. The person also says
what day it is, so that two clocks must agree. The number of the period is the number of renewals,
hence a clock that is set back opens nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from datasites.errors import ReviewError
from datasites.merchant.ledger.records import timestamp
from recsys.privacy.events import Budget

__all__ = ["Terms", "check_today"]

_MOST_DAYS = 36_500
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Terms:
    """The budget and its time.

    Args:
        budget: the most that the releases of one period may cost, of all time where there is none.
        period_days: how long a period lasts at least; None for no periods.
        lifetime_epsilon: the most that all periods together may cost, at the budget's delta.

    Raises: ReviewError for terms that make no sense.
    """

    budget: Budget
    period_days: int | None = None
    lifetime_epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.period_days is None:
            if self.lifetime_epsilon is not None:
                raise ReviewError(
                    "Expected a lifetime epsilon together with a period: without periods, epsilon "
                    "is for good already. Give --period-days too, or leave it out."
                )
            return
        if type(self.period_days) is not int or not 1 <= self.period_days <= _MOST_DAYS:
            raise ReviewError(f"Expected a period of 1 to {_MOST_DAYS} days.")
        most = self.lifetime_epsilon
        if most is not None and not (math.isfinite(most) and most >= self.budget.epsilon):
            raise ReviewError(
                f"Expected a lifetime epsilon of at least one period's, {self.budget.epsilon:g}, "
                f"found {most:g}."
            )

    @property
    def lifetime(self) -> Budget | None:
        """The budget over all periods, if it is bounded."""
        if self.lifetime_epsilon is None:
            return None
        return Budget(self.lifetime_epsilon, self.budget.delta)

    def ends(self, began: str) -> str | None:
        """When a period that began then may be renewed at the earliest, as the ledger tells time.

        None if there are no periods.
        """
        if self.period_days is None:
            return None
        return timestamp(datetime.fromisoformat(began) + self.period_days * _DAY)

    def to_dict(self) -> dict[str, Any]:
        """The terms beside the budget as plain JSON; {} without periods."""
        if self.period_days is None:
            return {}
        return {"period_days": self.period_days, "lifetime_epsilon": self.lifetime_epsilon}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Terms:
        """Read back a ledger's first entry."""
        return cls(
            Budget.from_dict(body["budget"]), body.get("period_days"), body.get("lifetime_epsilon")
        )


def check_today(today: date, now: datetime) -> None:
    """Raise ReviewError unless a person and the clock agree about the day (time zones aside)."""
    clock = now.astimezone(UTC).date()
    if abs(today - clock) > _DAY:
        raise ReviewError(
            f"You say that today is {today}, this machine's clock says {clock}. Set the clock "
            "right first: a renewal cannot be taken back."
        )
