"""DP-SGD in the ledger: steps beside Gaussian releases, one budget for both, nothing given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.errors import BudgetError, ReviewError
from datasites.merchant.ledger import Approval, Ledger
from recsys.privacy import (
    Budget,
    GaussianEvent,
    PrivacyEvent,
    SubsampledGaussianEvent,
    noise_multiplier_for,
    spent,
)

BUDGET = Budget(epsilon=1.0, delta=1e-5)
CODE, PARAMS = "c" * 64, "d" * 64
RELEASED = {"arrays": {"towers": [4, 2]}, "sha256": "f" * 64, "bytes": 32}
COUNTS = GaussianEvent("counts", 1.0, 15.0)


def steps(
    count: int = 100, noise: float = 2.5, rate: float = 0.02, what: str = "towers"
) -> SubsampledGaussianEvent:
    return SubsampledGaussianEvent(what, noise, rate, count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Ledger:
    return Ledger.create(path, BUDGET)


def approve(ledger: Ledger, study: str, events: Sequence[PrivacyEvent]) -> Approval:
    ledger.request(f"request-{study}", study, "ds@lab", CODE, PARAMS, {})
    return ledger.approve(
        f"request-{study}",
        study=study,
        sender="ds@lab",
        code_sha256=CODE,
        params_sha256=PARAMS,
        events=events,
        rounds=len(events),
        expires=datetime.now(UTC) + timedelta(days=1),
        by="merchant",
    )


def test_a_study_of_counts_and_steps_from_promise_to_release(ledger: Ledger, path: Path) -> None:
    events = [COUNTS, steps(), steps()]
    whole = spent(events, BUDGET.delta)
    assert approve(ledger, "toys", events).events == tuple(events)
    assert ledger.promised().epsilon == pytest.approx(whole)
    ledger.reserve("toys", "job-1", "counts", [COUNTS])
    ledger.reserve("toys", "job-2", "round-1", [steps()])
    ledger.commit("job-2", RELEASED)
    assert ledger.spent().epsilon == pytest.approx(spent(events[:2], BUDGET.delta))
    assert ledger.promised().epsilon == pytest.approx(spent(events[2:], BUDGET.delta))
    assert ledger.held().epsilon(BUDGET.delta) == pytest.approx(whole)
    again = Ledger.open(path)
    assert again.spent() == ledger.spent()
    assert again.approval("toys") == ledger.approval("toys")
    assert again.spent_by_study() == {"toys": ledger.spent()}


@pytest.mark.parametrize("beside", [[], [COUNTS]])
def test_a_plan_that_takes_the_whole_budget_fits_to_its_last_step(
    ledger: Ledger, beside: list[PrivacyEvent]
) -> None:
    noise = noise_multiplier_for(BUDGET.epsilon, BUDGET.delta, 0.05, 120, beside)
    rounds = [steps(40, noise, 0.05)] * 3
    approve(ledger, "toys", [*beside, *rounds])
    for number, event in enumerate([*beside, *rounds]):
        ledger.reserve("toys", f"job-{number}", f"round-{number}", [event])
    assert 0.995 * BUDGET.epsilon < ledger.spent().epsilon <= BUDGET.epsilon
    with pytest.raises(BudgetError, match="budget is epsilon 1"):
        approve(ledger, "more", [steps(40, noise, 0.05)])
    with pytest.raises(BudgetError):
        approve(ledger, "still more", [GaussianEvent("sums", 1.0, 10.0)])


def test_what_fits_alone_may_not_fit_beside_another_kind(ledger: Ledger) -> None:
    dear, large = GaussianEvent("sums", 1.0, 4.6), steps(300, 1.7, 0.02)
    assert spent([dear], BUDGET.delta) < BUDGET.epsilon > spent([large], BUDGET.delta)
    assert spent([dear, large], BUDGET.delta) > BUDGET.epsilon
    approve(ledger, "sums", [dear])
    before = ledger.entries()
    ledger.request("request-towers", "towers", "ds@lab", CODE, PARAMS, {})
    with pytest.raises(BudgetError, match="promised to other approvals"):
        approve(ledger, "towers", [large])
    assert ledger.approval("towers") is None
    assert ledger.entries()[: len(before)] == before
    ledger.revoke("sums", "merchant")
    ledger.request("second", "towers", "ds@lab", CODE, PARAMS, {})
    approve(ledger, "towers", [large])


def test_what_is_shown_as_left_can_be_spent(ledger: Ledger) -> None:
    approve(ledger, "toys", [COUNTS, steps(200, 1.5)])
    ledger.reserve("toys", "job-1", "round-1", [steps(200, 1.5)])
    left, available = ledger.remaining(), ledger.available()
    assert 0 < available.mu < left.mu
    with pytest.raises(BudgetError):
        approve(ledger, "too much", [GaussianEvent("sums", 1.05 * available.mu, 1.0)])
    approve(ledger, "all", [GaussianEvent("sums", available.mu, 1.0)])
    ledger.reserve("all", "job-2", "sums", [GaussianEvent("sums", available.mu, 1.0)])
    assert ledger.available().mu < 0.1 * available.mu


@pytest.mark.parametrize(
    "less", [steps(), steps(99), steps(100, 3.0), steps(1, 99.0)], ids=lambda event: str(event)
)
def test_fewer_steps_and_more_noise_are_covered(ledger: Ledger, less: PrivacyEvent) -> None:
    approve(ledger, "toys", [steps()])
    ledger.reserve("toys", "job-1", "round-1", [less])
    assert ledger.promised().epsilon == 0
    assert ledger.spent().epsilon == pytest.approx(spent([less], BUDGET.delta))


@pytest.mark.parametrize(
    "other",
    [
        steps(101),
        steps(100, 2.49),
        steps(1, 2.49),
        steps(100, 2.5, 0.0201),
        steps(100, 2.5, 0.0199),
        steps(what="others"),
        GaussianEvent("towers", 1.0, 1e6),
    ],
    ids=lambda event: str(event),
)
def test_steps_beyond_the_approval_are_refused(ledger: Ledger, other: PrivacyEvent) -> None:
    approve(ledger, "toys", [steps()])
    with pytest.raises(ReviewError, match="not among what is left"):
        ledger.reserve("toys", "job-1", "round-1", [other])
    assert ledger.spent_by_study() == {}
    assert ledger.state_of("job-1") is None


def test_steps_do_not_stand_in_for_a_gaussian_release(ledger: Ledger) -> None:
    approve(ledger, "toys", [GaussianEvent("towers", 1.0, 15.0)])
    with pytest.raises(ReviewError, match="not among what is left"):
        ledger.reserve("toys", "job-1", "round-1", [steps(1, 1e6)])


def test_approved_steps_are_taken_once(ledger: Ledger) -> None:
    approve(ledger, "toys", [steps(100), steps(10)])
    ledger.reserve("toys", "job-1", "round-1", [steps(8)])
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-2", "round-2", [steps(100), steps(100)])
    ledger.reserve("toys", "job-2", "round-2", [steps(100)])
    assert ledger.held().steps == ((2.5, 0.02, 108),)


def test_failed_and_revoked_steps_stay_spent(ledger: Ledger) -> None:
    approve(ledger, "toys", [steps(), steps()])
    ledger.reserve("toys", "job-1", "round-1", [steps()])
    ledger.fail("job-1", "out of memory")
    ledger.reserve("toys", "job-2", "round-2", [steps()])
    ledger.revoke("toys", "merchant")
    assert ledger.state_of("job-2") == "failed"
    assert ledger.promised().epsilon == 0
    assert ledger.spent().epsilon == pytest.approx(spent([steps(200)], BUDGET.delta))


@pytest.mark.slow
def test_a_run_that_is_killed_stays_spent_and_is_never_run_again(
    ledger: Ledger, path: Path
) -> None:
    approve(ledger, "toys", [COUNTS, steps(), steps()])
    script = """
        import os, signal, sys
        from pathlib import Path
        from datasites.merchant.ledger import Ledger
        from recsys.privacy import SubsampledGaussianEvent
        ledger = Ledger.open(Path(sys.argv[1]))
        event = SubsampledGaussianEvent("towers", 2.5, 0.02, 100)
        ledger.reserve("toys", "job-1", "round-1", [event])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    again = Ledger.open(path)
    assert again.open_reservations() == ["job-1"]
    assert again.spent().epsilon == pytest.approx(spent([steps()], BUDGET.delta))
    for job, phase in [("job-1", "round-2"), ("job-2", "round-1")]:
        with pytest.raises(ReviewError, match="run before"):
            again.reserve("toys", job, phase, [steps()])
    again.fail("job-1", "interrupted")
    again.reserve("toys", "job-2", "round-2", [steps()])
    assert again.spent().epsilon == pytest.approx(spent([steps(200)], BUDGET.delta))


def test_a_ledger_of_gaussian_releases_never_loads_the_heavy_accountant(path: Path) -> None:
    script = """
        import sys
        from datetime import UTC, datetime, timedelta
        from pathlib import Path
        from datasites.merchant.ledger import Ledger
        from recsys.privacy import Budget, GaussianEvent
        ledger = Ledger.create(Path(sys.argv[1]), Budget(1.0, 1e-5))
        ledger.request("r", "toys", "ds@lab", "a" * 64, "b" * 64, {})
        event = GaussianEvent("sums", 1.0, 9.0)
        ledger.approve("r", study="toys", sender="ds@lab", code_sha256="a" * 64,
            params_sha256="b" * 64, events=[event], rounds=1, by="merchant",
            expires=datetime.now(UTC) + timedelta(days=1))
        ledger.reserve("toys", "job", "round", [event])
        assert ledger.spent().epsilon > 0 < ledger.available().epsilon
        assert "dp_accounting" not in sys.modules and "scipy.stats" not in sys.modules
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], env=environment, check=True
    )
