"""A budget per period: renewed by a person, never by a clock; the total over all is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from datasites.errors import BudgetError, LedgerError, ReviewError
from datasites.merchant.ledger import Ledger, verify_export
from recsys.privacy.accounting import epsilon_of
from tests.datasites.merchant.test_ledger import BUDGET, LIMIT, Clock, approve, event

pytestmark = pytest.mark.attack

YEAR = 365


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger.create(tmp_path / "ledger.sqlite", BUDGET, period_days=YEAR, clock=clock)


def spend(ledger: Ledger, clock: Clock, study: str, share: float) -> None:
    approve(ledger, clock, study, [event(share)])
    ledger.reserve(study, f"job-{study}", "one", [event(share)])


def renew(ledger: Ledger, clock: Clock) -> None:
    ledger.renew(clock.now.date(), by="me")


def test_each_period_has_the_budget_anew_and_the_total_is_told(
    ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    for number in range(1, 4):
        assert ledger.period().number == number
        spend(ledger, clock, f"year-{number}", 0.9)
        with pytest.raises(BudgetError, match="this period"):
            approve(ledger, clock, f"more-{number}", [event(0.2)])
        clock.move(days=YEAR)
        renew(ledger, clock)
    assert ledger.spent().epsilon == 0
    whole = epsilon_of(LIMIT * (3 * 0.9) ** 0.5, BUDGET.delta)
    assert ledger.spent_ever().epsilon == pytest.approx(whole)
    assert whole > BUDGET.epsilon
    again = Ledger.open(tmp_path / "ledger.sqlite", clock=clock)
    assert (again.period(), again.spent_ever()) == (ledger.period(), ledger.spent_ever())


def test_a_period_is_renewed_once_it_is_over_and_not_before(ledger: Ledger, clock: Clock) -> None:
    clock.move(days=YEAR - 1)
    with pytest.raises(ReviewError, match="lasts until"):
        renew(ledger, clock)
    clock.move(days=1)
    renew(ledger, clock)
    with pytest.raises(ReviewError, match="lasts until"):
        renew(ledger, clock)
    assert ledger.period().number == 2


def test_time_alone_renews_nothing(ledger: Ledger, clock: Clock) -> None:
    spend(ledger, clock, "toys", 1.0)
    clock.move(days=10 * YEAR)
    with pytest.raises(BudgetError):
        approve(ledger, clock, "more", [event(0.01)])
    assert ledger.period().number == 1


def test_a_clock_set_far_forward_does_not_renew(ledger: Ledger, clock: Clock) -> None:
    today = clock.now.date()
    clock.move(days=2 * YEAR)
    with pytest.raises(ReviewError, match="Set the clock right"):
        ledger.renew(today, by="me")
    clock.move(days=-2 * YEAR)
    with pytest.raises(ReviewError, match="Set the clock right"):
        ledger.renew(today + timedelta(days=2 * YEAR), by="me")
    assert ledger.period().number == 1


def test_a_clock_set_back_opens_neither_an_old_nor_a_new_period(
    ledger: Ledger, clock: Clock
) -> None:
    clock.move(days=YEAR)
    renew(ledger, clock)
    spend(ledger, clock, "toys", 1.0)
    clock.move(days=-YEAR)
    with pytest.raises(BudgetError):
        approve(ledger, clock, "more", [event(0.01)])
    with pytest.raises(ReviewError, match="lasts until"):
        renew(ledger, clock)
    assert ledger.period().number == 2


def test_a_promise_holds_budget_in_the_next_period_too(ledger: Ledger, clock: Clock) -> None:
    clock.move(days=YEAR - 1)
    expires = clock.now + timedelta(days=30)
    approve(ledger, clock, "long", [event(0.3), event(0.4)], expires=expires)
    ledger.reserve("long", "job-1", "one", [event(0.3)])
    clock.move(days=1)
    renew(ledger, clock)
    assert ledger.spent().epsilon == 0
    with pytest.raises(BudgetError):
        approve(ledger, clock, "toys", [event(0.7)])
    ledger.reserve("long", "job-2", "two", [event(0.4)])
    assert ledger.spent().mu == pytest.approx(LIMIT * 0.4**0.5)
    spend(ledger, clock, "toys", 0.6)


def test_what_is_unused_is_not_carried_over(ledger: Ledger, clock: Clock) -> None:
    clock.move(days=YEAR)
    renew(ledger, clock)
    assert ledger.available().epsilon == pytest.approx(BUDGET.epsilon)
    with pytest.raises(BudgetError):
        approve(ledger, clock, "toys", [event(1.1)])


def test_a_lifetime_cap_holds_over_all_periods(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger.create(
        tmp_path / "capped.sqlite", BUDGET, period_days=1, lifetime_epsilon=1.5, clock=clock
    )
    spend(ledger, clock, "one", 0.9)
    clock.move(days=1)
    renew(ledger, clock)
    spend(ledger, clock, "two", 0.9)
    clock.move(days=1)
    renew(ledger, clock)
    with pytest.raises(BudgetError, match="All periods together"):
        approve(ledger, clock, "three", [event(0.9)])
    left = ledger.available()
    assert 0 < left.epsilon < BUDGET.epsilon
    spend(ledger, clock, "rest", (left.mu / LIMIT) ** 2 * (1 - 1e-9))
    assert ledger.spent_ever().epsilon == pytest.approx(1.5)


@pytest.mark.parametrize(
    "terms",
    [
        {"period_days": 0},
        {"period_days": 365, "lifetime_epsilon": 0.5},
        {"period_days": 365, "lifetime_epsilon": float("nan")},
        {"lifetime_epsilon": 2.0},
    ],
)
def test_terms_that_make_no_sense_are_refused(tmp_path: Path, terms: dict[str, float]) -> None:
    with pytest.raises(ReviewError, match="Expected"):
        Ledger.create(tmp_path / "odd.sqlite", BUDGET, **terms)  # type: ignore[arg-type]


def test_a_budget_for_good_is_written_as_ever_and_is_not_renewed(
    tmp_path: Path, clock: Clock
) -> None:
    ledger = Ledger.create(tmp_path / "good.sqlite", BUDGET, clock=clock)
    (first,) = ledger.entries()
    assert first.body == {"format": 1, "budget": BUDGET.to_dict()}
    clock.move(days=10 * YEAR)
    with pytest.raises(ReviewError, match="for good"):
        renew(ledger, clock)


def test_an_export_is_checked_without_the_ledger(
    ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    spend(ledger, clock, "toys", 0.5)
    file = tmp_path / "export.jsonl"
    ledger.export(file)
    books = verify_export(file)
    assert (books.seq, books.hash) == (ledger.sighting().seq, ledger.sighting().hash)
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    for damaged in (
        text.replace('"toys"', '"joys"'),
        "".join(lines[:1] + lines[2:]),
        "",
        "[]\n",
        text[:-20],
        "[" * 100_000,
    ):
        file.write_text(damaged)
        with pytest.raises(LedgerError):
            verify_export(file)
