"""The ledger against a model in whole tenths of the budget, whatever order things come in."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from datasites.errors import BudgetError, ReviewError
from datasites.merchant.ledger import Ledger
from recsys.privacy.accounting import mu_of
from recsys.privacy.events import Budget, GaussianEvent

BUDGET = Budget(epsilon=2.0, delta=1e-6)
LIMIT = mu_of(BUDGET.epsilon, BUDGET.delta)
CODE, PARAMS = "a" * 64, "b" * 64
RELEASED = {"arrays": {"sums": [3]}, "sha256": "c" * 64, "bytes": 24}

# Thousands of bookings: what they add up to is tested here, not the disk's patience.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

studies = st.sampled_from(["toys", "dolls", "trains"])
jobs = st.integers(0, 7).map("job-{}".format)
phases = st.integers(0, 5).map("round-{}".format)
tenths = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def event(tenth: int) -> GaussianEvent:
    return GaussianEvent(f"sums-{tenth}", 2.0, 2.0 / (LIMIT * math.sqrt(tenth / 10)))


class LedgerMachine(RuleBasedStateMachine):
    """Each rule tries something; the model says whether it must be accepted."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=MEMORY))
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.ledger = Ledger.create(self.folder / "ledger.sqlite", BUDGET, clock=lambda: self.now)
        self.requests = 0
        self.left: dict[str, Counter[int]] = {}
        self.rounds: dict[str, int] = {}
        self.expires: dict[str, datetime] = {}
        self.states: dict[str, tuple[str, str]] = {}
        self.phases: set[tuple[str, str]] = set()
        self.spent: Counter[str] = Counter()
        self.last_at = self.now

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def written(self) -> None:
        self.last_at = self.now
        for study in [s for s, end in self.expires.items() if self.now >= end]:
            del self.left[study], self.rounds[study], self.expires[study]

    def attempt(self) -> None:
        """A writer's turn books a clock that was set back, whatever comes of the rest."""
        if self.last_at > self.now + timedelta(seconds=1):
            self.written()

    def active(self, study: str) -> bool:
        return study in self.expires and self.now < self.expires[study]

    def promised(self) -> int:
        return sum(
            tenth * count
            for study, left in self.left.items()
            if self.active(study) and self.rounds[study]
            for tenth, count in left.items()
        )

    @rule(study=studies, plan=tenths, hours=st.integers(1, 9))
    def approve(self, study: str, plan: list[int], hours: int) -> None:
        self.attempt()
        self.requests += 1
        request = f"request-{self.requests}"
        self.ledger.request(request, study, "ds@lab", CODE, PARAMS, {})
        self.written()
        total = self.spent.total() + self.promised() + sum(plan)
        allowed = not self.active(study) and total <= 10
        try:
            self.ledger.approve(
                request,
                study=study,
                sender="ds@lab",
                code_sha256=CODE,
                params_sha256=PARAMS,
                events=[event(tenth) for tenth in plan],
                rounds=len(plan),
                expires=self.now + timedelta(hours=hours),
                by="merchant",
            )
        except ReviewError:
            assert self.active(study)
        except BudgetError:
            assert total > 10
        else:
            assert allowed
            self.written()
            self.left[study] = Counter(plan)
            self.rounds[study] = len(plan)
            self.expires[study] = self.now + timedelta(hours=hours)

    @rule(study=studies, job=jobs, phase=phases, wanted=tenths)
    def reserve(self, study: str, job: str, phase: str, wanted: list[int]) -> None:
        self.attempt()
        allowed = (
            job not in self.states
            and (study, phase) not in self.phases
            and self.active(study)
            and self.rounds[study] > 0
            and Counter(wanted) <= self.left[study]
        )
        try:
            self.ledger.reserve(study, job, phase, [event(tenth) for tenth in wanted])
        except ReviewError:
            assert not allowed
        else:
            assert allowed
            self.written()
            self.states[job] = (study, "reserved")
            self.phases.add((study, phase))
            self.left[study] -= Counter(wanted)
            self.rounds[study] -= 1
            self.spent[study] += sum(wanted)

    @rule(job=jobs, well=st.booleans())
    def end(self, job: str, well: bool) -> None:
        self.attempt()
        study, state = self.states.get(job, ("", None))
        try:
            if well:
                self.ledger.commit(job, RELEASED)
            else:
                self.ledger.fail(job, "went wrong")
        except ReviewError:
            assert state != "reserved"
        else:
            assert state == "reserved"
            self.written()
            self.states[job] = (study, "committed" if well else "failed")

    @rule(study=studies)
    def revoke(self, study: str) -> None:
        self.attempt()
        running = [job for job, run in self.states.items() if run == (study, "reserved")]
        allowed = self.active(study) or bool(running)
        try:
            self.ledger.revoke(study, "merchant")
        except ReviewError:
            assert not allowed
        else:
            assert allowed
            self.written()
            for table in (self.left, self.rounds, self.expires):
                table.pop(study, None)  # type: ignore[attr-defined]
            for job in running:
                self.states[job] = (study, "failed")

    @rule()
    def note(self) -> None:
        self.attempt()
        self.ledger.note("quarantine", {"sender": "eve@lab"})
        self.written()

    @rule(hours=st.integers(-6, 6))
    def move_clock(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def reopen(self) -> None:
        self.ledger = Ledger.open(self.folder / "ledger.sqlite", clock=lambda: self.now)

    @invariant()
    def books_agree(self) -> None:
        self.ledger.verify()
        spent = self.ledger.spent()
        assert spent.mu <= LIMIT * (1 + 1e-9)
        assert spent.mu == pytest.approx(LIMIT * math.sqrt(self.spent.total() / 10))
        promised = self.ledger.promised().mu
        assert promised == pytest.approx(LIMIT * math.sqrt(self.promised() / 10))
        assert self.spent.total() + self.promised() <= 10
        for job, (_, state) in self.states.items():
            assert self.ledger.state_of(job) == state
        assert self.ledger.open_reservations() == [
            job for job, (_, state) in self.states.items() if state == "reserved"
        ]


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@pytest.mark.slow
class TestLedgerMachineLong(LedgerMachine.TestCase):  # type: ignore[misc, name-defined]
    """The same, for longer."""

    settings = settings(max_examples=25, stateful_step_count=50, deadline=None)
