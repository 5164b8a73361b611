"""What may be booked, what is refused, and that the budget adds up."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datasites.errors import BudgetError, LedgerError, ReviewError
from datasites.merchant.ledger import Approval, Ledger
from recsys.privacy.accounting import epsilon_of, mu_of
from recsys.privacy.events import Budget, GaussianEvent

BUDGET = Budget(epsilon=1.0, delta=1e-5)
LIMIT = mu_of(BUDGET.epsilon, BUDGET.delta)
CODE, PARAMS, OTHER = "c" * 64, "d" * 64, "e" * 64
RELEASED = {"arrays": {"item_embeddings": [4, 2]}, "sha256": "f" * 64, "bytes": 32}


class Clock:
    """A clock that tests can set."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger.create(tmp_path / "ledger.sqlite", BUDGET, clock=clock)


def event(share: float, what: str = "sums") -> GaussianEvent:
    """A release that takes `share` of the budget's mu^2."""
    return GaussianEvent(what, 1.0, 1 / (LIMIT * math.sqrt(share)))


def approve(
    ledger: Ledger, clock: Clock, study: str, events: list[GaussianEvent], **more: Any
) -> Approval:
    request = more.pop("request", f"request-{study}")
    asks = more.pop("asks", "ds@lab")
    ledger.request(request, study, asks, CODE, PARAMS, {"recipe": "private_als"})
    settings: dict[str, Any] = {
        "study": study,
        "sender": asks,
        "code_sha256": CODE,
        "params_sha256": PARAMS,
        "rounds": len(events),
        "expires": clock.now + timedelta(days=1),
        "by": "merchant",
    }
    return ledger.approve(request, events=events, **(settings | more))


def kinds(ledger: Ledger) -> list[str]:
    return [entry.kind for entry in ledger.entries()]


def test_a_study_from_request_to_release(ledger: Ledger, clock: Clock) -> None:
    approval = approve(ledger, clock, "toys", [event(0.1), event(0.3)])
    assert ledger.approval("toys") == approval
    assert ledger.spent() == (0.0, 0.0)
    assert ledger.promised().mu == pytest.approx(LIMIT * math.sqrt(0.4))

    run = ledger.reserve("toys", "job-1", "round-1", [event(0.3)], code_sha256=CODE)
    assert (ledger.state_of("job-1"), ledger.open_reservations()) == ("reserved", ["job-1"])
    assert run == ledger.reservation("job-1")
    ledger.commit("job-1", RELEASED)

    assert (ledger.state_of("job-1"), ledger.open_reservations()) == ("committed", [])
    assert ledger.spent().mu == pytest.approx(LIMIT * math.sqrt(0.3))
    assert ledger.spent().epsilon == pytest.approx(epsilon_of(LIMIT * math.sqrt(0.3), 1e-5))
    assert ledger.spent_by_study() == {"toys": ledger.spent()}
    assert ledger.remaining().mu == pytest.approx(LIMIT * math.sqrt(0.7))
    assert ledger.available().mu == pytest.approx(LIMIT * math.sqrt(0.6))
    assert kinds(ledger) == ["created", "requested", "approved", "reserved", "committed"]
    assert ledger.entries()[-1].body == {"job": "job-1", "released": RELEASED}


def test_books_survive_reopening(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    approve(ledger, clock, "toys", [event(0.5)])
    ledger.reserve("toys", "job-1", "round-1", [event(0.5)])
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as again:
        assert again.budget == BUDGET
        assert again.entries() == ledger.entries()
        assert again.spent() == ledger.spent()
        assert again.requests() == ledger.requests()
        assert again.approval("toys") == ledger.approval("toys")


@pytest.mark.parametrize("parts", [1, 3, 7, 10])
def test_a_plan_that_takes_the_whole_budget_fits_exactly(
    ledger: Ledger, clock: Clock, parts: int
) -> None:
    events = [event(1 / parts)] * parts
    approve(ledger, clock, "toys", events)
    for number in range(parts):
        ledger.reserve("toys", f"job-{number}", f"round-{number}", [events[number]])
    assert ledger.spent().epsilon == pytest.approx(BUDGET.epsilon)
    assert ledger.remaining().mu == pytest.approx(0, abs=1e-4 * LIMIT)
    with pytest.raises(BudgetError):
        approve(ledger, clock, "more", [event(1e-6)])


def test_what_other_approvals_hold_back_cannot_be_approved_twice(
    ledger: Ledger, clock: Clock
) -> None:
    approve(ledger, clock, "a", [event(0.6)])
    with pytest.raises(BudgetError, match="promised"):
        approve(ledger, clock, "b", [event(0.5)])
    assert ledger.approval("b") is None
    ledger.revoke("a", "merchant")
    approve(ledger, clock, "b", [event(0.5)], request="request-b")


def test_a_failed_run_stays_spent(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.6)])
    ledger.reserve("toys", "job-1", "round-1", [event(0.6)])
    ledger.fail("job-1", "interrupted")
    assert ledger.state_of("job-1") == "failed"
    assert ledger.spent().mu == pytest.approx(LIMIT * math.sqrt(0.6))
    with pytest.raises(BudgetError):
        approve(ledger, clock, "again", [event(0.5)])
    with pytest.raises(ReviewError, match="failed"):
        ledger.commit("job-1", RELEASED)


def test_replays_are_refused_for_ever(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)] * 3)
    ledger.reserve("toys", "job-1", "round-1", [event(0.1)])
    ledger.commit("job-1", RELEASED)
    with pytest.raises(ReviewError, match="Job"):
        ledger.reserve("toys", "job-1", "round-2", [event(0.1)])
    with pytest.raises(ReviewError, match="Phase"):
        ledger.reserve("toys", "job-2", "round-1", [event(0.1)])
    with pytest.raises(ReviewError, match="committed"):
        ledger.commit("job-1", RELEASED)
    ledger.revoke("toys", "merchant")
    approve(ledger, clock, "toys", [event(0.1)], request="second")
    with pytest.raises(ReviewError, match="Phase"):
        ledger.reserve("toys", "job-2", "round-1", [event(0.1)])
    ledger.reserve("toys", "job-2", "round-2", [event(0.1)])


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ([event(0.2)], "costlier"),
        ([event(0.1, "other")], "of another name"),
        ([event(0.1), event(0.1), event(0.1)], "more of them"),
        ([], "none declared"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_releases_beyond_the_approval_are_refused(
    ledger: Ledger, clock: Clock, wanted: list[GaussianEvent], what: str
) -> None:
    approve(ledger, clock, "toys", [event(0.1), event(0.1)])
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-1", "round-1", wanted)
    assert ledger.spent().mu == 0
    assert ledger.state_of("job-1") is None


def test_a_cheaper_release_leaves_the_dearer_one_for_later(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.4), event(0.1)])
    ledger.reserve("toys", "job-1", "round-1", [event(0.05)])
    ledger.reserve("toys", "job-2", "round-2", [event(0.4)])
    assert ledger.promised().mu == 0


def test_runs_are_counted_and_named(ledger: Ledger, clock: Clock) -> None:
    approve(
        ledger, clock, "toys", [event(0.1)] * 3, rounds=2, phases=("round-1", "round-2", "score")
    )
    with pytest.raises(ReviewError, match="not one of those"):
        ledger.reserve("toys", "job-0", "round-9", [event(0.1)])
    ledger.reserve("toys", "job-1", "round-1", [event(0.1)])
    assert ledger.promised().mu == pytest.approx(LIMIT * math.sqrt(0.2))
    ledger.reserve("toys", "job-2", "score", [event(0.1)])
    assert ledger.promised().mu == 0
    with pytest.raises(ReviewError, match="All 2 runs"):
        ledger.reserve("toys", "job-3", "round-2", [event(0.1)])


def test_code_and_parameters_are_those_approved(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)])
    with pytest.raises(ReviewError, match="code"):
        ledger.reserve("toys", "job-1", "round-1", [event(0.1)], code_sha256=OTHER)
    with pytest.raises(ReviewError, match="parameters"):
        ledger.reserve("toys", "job-1", "round-1", [event(0.1)], params_sha256=OTHER)
    assert ledger.spent().mu == 0


def test_an_approval_is_for_what_was_requested(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)], request="first")
    with pytest.raises(ReviewError, match="no request"):
        ledger.reject("never", "why", "merchant")
    for changed in ({"code_sha256": OTHER}, {"params_sha256": OTHER}, {"sender": "eve@lab"}):
        with pytest.raises(ReviewError, match="not what is being approved"):
            approve(ledger, clock, "dolls", [event(0.1)], **changed)
    with pytest.raises(ReviewError, match="arrived before"):
        ledger.request("first", "toys", "ds@lab", OTHER, PARAMS, {})
    with pytest.raises(ReviewError, match="approved before"):
        approve(ledger, clock, "toys", [event(0.1)], request="first")
    with pytest.raises(ReviewError, match="active approval"):
        approve(ledger, clock, "toys", [event(0.1)], request="second")


def test_a_study_name_belongs_to_its_first_sender(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)])
    ledger.revoke("toys", "merchant")
    with pytest.raises(ReviewError, match="another sender"):
        approve(ledger, clock, "toys", [event(0.1)], request="eves", asks="eve@lab")


def test_the_same_request_is_booked_once(ledger: Ledger) -> None:
    first = ledger.request("r", "toys", "ds@lab", CODE, PARAMS, {"epsilon": 0.5})
    assert ledger.request("r", "toys", "ds@lab", CODE, PARAMS, {"epsilon": 0.5}) == first
    assert kinds(ledger) == ["created", "requested"]
    ledger.reject("r", "too dear", "merchant")
    assert [request.state for request in ledger.requests()] == ["rejected"]
    with pytest.raises(ReviewError, match="rejected before"):
        ledger.reject("r", "too dear", "merchant")


def test_revoking_stops_a_run_under_way(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)] * 2)
    ledger.reserve("toys", "job-1", "round-1", [event(0.1)])
    ledger.revoke("toys", "merchant")
    assert ledger.state_of("job-1") == "failed"
    with pytest.raises(ReviewError):
        ledger.commit("job-1", RELEASED)
    with pytest.raises(ReviewError, match="no active approval"):
        ledger.reserve("toys", "job-2", "round-2", [event(0.1)])
    with pytest.raises(ReviewError, match="no active approval"):
        ledger.revoke("toys", "merchant")
    assert ledger.spent().mu == pytest.approx(LIMIT * math.sqrt(0.1))


def test_an_approval_expires_and_frees_what_it_held_back(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.3)] * 3)
    ledger.reserve("toys", "job-1", "round-1", [event(0.3)])
    clock.move(days=1)
    assert ledger.approval("toys") is None
    assert ledger.promised().mu == 0
    with pytest.raises(ReviewError, match="expired"):
        ledger.reserve("toys", "job-2", "round-2", [event(0.3)])
    ledger.commit("job-1", RELEASED)
    approve(ledger, clock, "next", [event(0.7)])


def test_a_clock_set_back_is_noted_and_revives_nothing(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.6)])
    clock.move(days=2)
    approve(ledger, clock, "next", [event(0.6)])
    clock.move(days=-2)
    assert ledger.approval("toys") is None
    with pytest.raises(ReviewError, match="expired"):
        ledger.reserve("toys", "job-1", "round-1", [event(0.6)])
    entries = ledger.entries()
    assert entries[-1].kind == "clock set back"
    assert entries[-1].note
    assert entries[-1].at < entries[-2].at
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    ledger.reserve("next", "job-1", "round-1", [event(0.6)])
    assert kinds(ledger).count("clock set back") == 1


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=-1)])
def test_an_approval_must_end_in_the_future(
    ledger: Ledger, clock: Clock, expires: timedelta
) -> None:
    with pytest.raises(ReviewError, match="future"):
        approve(ledger, clock, "toys", [event(0.1)], expires=clock.now + expires)


def test_an_expiry_needs_its_time_zone(ledger: Ledger, clock: Clock) -> None:
    with pytest.raises(ReviewError, match="time zone"):
        approve(ledger, clock, "toys", [event(0.1)], expires=datetime(2040, 1, 1))


def test_notes_book_nothing_and_cannot_pose_as_bookings(ledger: Ledger) -> None:
    ledger.note("quarantine", {"sender": "eve@lab", "reason": "x" * 9000})
    entry = ledger.entries()[-1]
    assert (entry.kind, entry.note, len(entry.body["reason"])) == ("quarantine", True, 2000)
    with pytest.raises(ReviewError, match="the ledger's own"):
        ledger.note("committed", {"job": "job-1"})
    nested: dict[str, Any] = {}
    for _ in range(50):
        nested = {"deeper": nested}
    for body in (nested, {"x": math.nan}, {"x": object()}, {"x": ["y" * 2000] * 40}):
        with pytest.raises(ReviewError):
            ledger.note("quarantine", body)
    ledger.note("odd texts", {"x": "\ud800 \x00 \x1b[2J é", "y": [True, None, 1.5]})
    assert ledger.entries()[-1].body == {"x": "\ud800 \x00 \x1b[2J é", "y": [True, None, 1.5]}


@pytest.mark.parametrize(
    "released",
    [
        {},
        RELEASED | {"values": [1.0]},
        RELEASED | {"arrays": {"item_embeddings": [0.25]}},
        RELEASED | {"sha256": "short"},
        RELEASED | {"bytes": 1.5},
    ],
)
def test_only_facts_about_a_release_are_booked(
    ledger: Ledger, clock: Clock, released: dict[str, Any]
) -> None:
    approve(ledger, clock, "toys", [event(0.1)])
    ledger.reserve("toys", "job-1", "round-1", [event(0.1)])
    with pytest.raises(ReviewError):
        ledger.commit("job-1", released)
    assert ledger.state_of("job-1") == "reserved"


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", "\x1b[31mred", "\ud800"])
def test_names_that_could_forge_a_line_are_refused(ledger: Ledger, clock: Clock, name: str) -> None:
    with pytest.raises(ReviewError):
        ledger.request(name, "toys", "ds@lab", CODE, PARAMS, {})
    with pytest.raises(ReviewError):
        ledger.request("r", name, "ds@lab", CODE, PARAMS, {})
    approve(ledger, clock, "toys", [event(0.1)])
    with pytest.raises(ReviewError):
        ledger.reserve("toys", name, "round-1", [event(0.1)])
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-1", name, [event(0.1)])


def test_a_refusal_changes_nothing(ledger: Ledger, clock: Clock) -> None:
    approve(ledger, clock, "toys", [event(0.1)])
    before = ledger.entries()
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-1", "round-1", [event(0.2)])
    with pytest.raises(ReviewError):
        ledger.fail("job-1", "why")
    assert ledger.entries() == before


def test_create_and_open_mind_what_is_there(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="already"):
        Ledger.create(tmp_path / "ledger.sqlite", BUDGET)
    with pytest.raises(LedgerError, match="create it first"):
        Ledger.open(tmp_path / "elsewhere.sqlite")
    for name in ("ledger.sqlite", "ledger.head", "ledger.lock"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
