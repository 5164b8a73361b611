"""The forecast of a budget: from what is booked, in what adds up, nothing promised twice."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from datasites.errors import BudgetError
from datasites.merchant.ledger import Ledger, forecast, spending_over_time
from recsys.privacy.accounting import epsilon_of, mu_of
from tests.datasites.merchant.test_ledger import (
    BUDGET,
    LIMIT,
    Clock,
    approve,
    clock,
    event,
    ledger,
)
from tests.datasites.merchant.test_ledger_periods import spend
from ui.ledger_words import forecast_in_words

__all__ = ["clock", "ledger"]


def test_a_new_ledger_tells_how_many_studies_fit(ledger: Ledger, clock: Clock) -> None:
    ahead = forecast(ledger, clock.now)
    assert (ahead.studies, ahead.more, ahead.until) == (0, None, None)
    for size, count in ahead.fits.items():
        cost = mu_of(size, BUDGET.delta) ** 2
        assert count * cost <= LIMIT**2 * (1 + 1e-6) < (count + 1) * cost * (1 + 1e-6)
    assert ahead.fits[BUDGET.epsilon] == 1
    assert forecast_in_words(ahead, ledger.period()).endswith("or 1 of epsilon 1")


def test_what_it_says_fits_does_fit_and_no_more(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, clock, "first", 0.2)
    clock.move(days=30)
    spend(ledger, clock, "second", 0.2)
    ahead = forecast(ledger, clock.now)
    assert (ahead.studies, ahead.more) == (2, 3)
    assert ahead.typical == pytest.approx(epsilon_of(LIMIT * math.sqrt(0.2), BUDGET.delta))
    # Two fifths in 30 days: the other three fifths last for 45.
    assert ahead.until == (clock.now + timedelta(days=45)).date()
    words = forecast_in_words(ahead, ledger.period())
    assert words.startswith("2 studies so far")
    assert words.endswith(f"until about {ahead.until}")
    for number in range(3):
        spend(ledger, clock, f"more-{number}", 0.2)
    ahead = forecast(ledger, clock.now)
    assert (ahead.more, set(ahead.fits.values())) == (0, {0})
    assert "no room" in forecast_in_words(ahead, ledger.period())
    with pytest.raises(BudgetError):
        approve(ledger, clock, "one-too-many", [event(0.2)])


def test_what_is_promised_is_not_offered_again(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, clock, "ran", 0.25)
    approve(ledger, clock, "waits", [event(0.5)])
    assert forecast(ledger, clock.now).more == 1


def test_a_pace_needs_a_week(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, clock, "first", 0.2)
    clock.move(days=1)
    assert forecast(ledger, clock.now).until is None


def test_a_clock_set_back_gives_no_pace(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, clock, "first", 0.2)
    clock.move(days=-100)
    assert forecast(ledger, clock.now).until is None


def test_a_new_period_begins_anew(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger.create(tmp_path / "periods.sqlite", BUDGET, period_days=365, clock=clock)
    spend(ledger, clock, "first", 0.9)
    clock.move(days=366)
    ledger.renew(clock.now.date(), by="me")
    assert forecast(ledger, clock.now).studies == 0
    spend(ledger, clock, "second", 0.01)
    clock.move(days=20)
    ahead = forecast(ledger, clock.now)
    assert ahead.studies == 1
    assert "until the period may be renewed" in forecast_in_words(ahead, ledger.period())
    totals = [(one.study, one.period) for one in spending_over_time(ledger.entries())]
    assert totals == [("", 1), ("first", 1), ("", 2), ("second", 2)]


def test_the_running_total_ends_at_what_is_spent(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "long", [event(0.1)] * 3)
    for number in range(3):
        ledger.reserve("long", f"job-{number}", f"phase-{number}", [event(0.1)])
    spend(ledger, clock, "short", 0.2)
    moments = spending_over_time(ledger.entries())
    assert [one.study for one in moments] == ["", "long", "short"]
    assert moments[0].epsilon == 0
    assert moments[1].epsilon < moments[2].epsilon == pytest.approx(ledger.spent().epsilon)
    assert spending_over_time([]) == []
