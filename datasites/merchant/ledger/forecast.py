"""What the ledger says of the future: how many more studies fit, and until when the budget lasts.

A forecast changes nothing and costs nothing: it is made of costs that are booked already. It counts
in mu^2, which adds up over studies (exactly over Gaussian releases, nearly with subsampled steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from datasites.merchant.ledger.books import Books
from datasites.merchant.ledger.ledger import Ledger
from datasites.merchant.ledger.records import Entry
from recsys.privacy import Tally, epsilon_of, mu_of

__all__ = ["SIZES", "Forecast", "Moment", "forecast", "spending_over_time"]

SIZES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Epsilons of a study, of which it is told how many fit."""

_SLACK = 1e-9
_SHORTEST = timedelta(days=7)
"""Of a pace: what was spent within a few days says nothing about a year."""
_LONGEST = timedelta(days=3650)


@dataclass(frozen=True)
class Forecast:
    """What is left, in studies.

    Args:
        studies: that ran in this period, so far.
        typical: epsilon of a study like them, at the budget's delta; nan where there are none.
        more: how many more like them fit beside all that is spent and promised; None as above.
        until: the day when nothing is left, if studies go on as they came; None where there is no
            pace yet, or it would be more than ten years away.
        fits: epsilon of a study to how many such fit.
    """

    studies: int
    typical: float
    more: int | None
    until: date | None
    fits: dict[float, int]


def forecast(ledger: Ledger, now: datetime | None = None) -> Forecast:
    """Look ahead. `now` has a time zone; by default it is the present."""
    now = now or datetime.now(UTC)
    delta = ledger.budget.delta
    left = ledger.available().mu ** 2
    fits = {size: int(left / mu_of(size, delta) ** 2 + _SLACK) for size in SIZES}
    began = ledger.period().began
    tallies: dict[str, Tally] = {}
    first = ""
    for run in ledger.runs():
        if run.at >= began:
            tallies[run.study] = tallies.get(run.study, Tally()) + Tally.of(run.events)
            first = first or run.at
    costs = [tally.mu(delta) ** 2 for tally in tallies.values()]
    if not any(costs):
        return Forecast(0, float("nan"), None, None, fits)
    typical = sum(costs) / len(costs)
    return Forecast(
        studies=len(costs),
        typical=epsilon_of(typical**0.5, delta),
        more=int(left / typical + _SLACK),
        until=_until(now - datetime.fromisoformat(first), sum(costs), left, now),
        fits=fits,
    )


def _until(passed: timedelta, used: float, left: float, now: datetime) -> date | None:
    if passed < _SHORTEST or left / used > _LONGEST / passed:
        return None
    return (now + passed * (left / used)).date()


@dataclass(frozen=True)
class Moment:
    """What was spent in a period once a study had run for the last time in a row.

    Args:
        at: when, ISO 8601, UTC.
        study: that had run; "" where a period began.
        period: its number.
        epsilon: of all releases of the period so far, at the budget's delta.
    """

    at: str
    study: str
    period: int
    epsilon: float


def spending_over_time(entries: Sequence[Entry]) -> list[Moment]:
    """The running total, one moment for each time that another study (or period) took over.

    Args:
        entries: all of them, verified.
    """
    books = Books()
    found: list[tuple[Entry, int, Tally]] = []
    for entry in entries:
        books.apply(entry)
        if entry.note or entry.kind not in ("created", "renewed", "reserved", "restored"):
            continue
        if found and entry.kind == "reserved" and found[-1][0].study == entry.study:
            found.pop()
        found.append((entry, books.period, books.spent))
    delta = books.budget.delta if entries else 0.0
    return [
        Moment(entry.at, entry.study, period, tally.epsilon(delta))
        for entry, period, tally in found
    ]
