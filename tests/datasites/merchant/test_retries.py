"""Jobs that cannot succeed, and requests that wait for days, cost the service next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasites.errors import StateGoneError, TransportError
from datasites.merchant import Ledger, MerchantHome, desk
from datasites.merchant.retries import Retries
from datasites.merchant.service import Service
from datasites.protocol import Proposal, Round, StateRef
from datasites.syftbox.types import Submission, SyncReport

Proposals = Callable[..., Proposal]
Submissions = Callable[..., Submission]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Link:
    """Jobs in, answers out, all in memory; what a round starts from cannot be fetched."""

    own_fingerprint = "1111"
    hears: Callable[[str], bool]

    def __init__(self) -> None:
        self.waiting: list[Submission] = []
        self.answers: list[tuple[str, str, str]] = []
        self.downloads = 0
        self.trouble: Exception = StateGoneError("expected a state, found none")

    def sync(self) -> SyncReport:
        return SyncReport(0, [])

    def peers(self) -> list[Any]:
        return []

    def submissions(self) -> list[Submission]:
        return list(self.waiting)

    def is_settled(self, _job: str) -> bool:
        return False

    def download_state(self, *_: object) -> Path:
        self.downloads += 1
        raise self.trouble

    def reply(self, job: str, status: str, message: str, _files: dict[str, bytes]) -> None:
        self.answers.append((job, status, message))
        self.waiting = [one for one in self.waiting if one.job != job]


@pytest.fixture
def service(home: MerchantHome, ledger: Ledger) -> Service:
    (home.private / "mock-published").touch()
    return Service(home, Link(), ledger)  # type: ignore[arg-type]


@pytest.fixture
def late(
    service: Service,
    make_proposal: Proposals,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> Clock:
    """A round whose state is not there, and the clock that retries go by."""
    clock, link = Clock(), service.link
    service._retries = Retries(clock)
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal)]
    service.step()
    desk.approve(service.home, service.ledger, "toys", by="me")
    service.step()
    order = Round(
        study="toys",
        phase="als-1",
        proposal_sha256=proposal.sha256,
        state=StateRef(name="toys-als-1", sha256="0" * 64),
    )
    link.waiting = [make_submission("toys-als-1", order)]
    link.answers.clear()
    return clock


def test_a_round_that_is_over_is_tried_ever_less_and_then_refused(
    service: Service, late: Clock
) -> None:
    link = service.link
    for _ in range(1190):
        service.step()
        late.now += 0.5
    assert link.downloads < 80
    assert not link.answers
    for _ in range(60):
        service.step()
        late.now += 0.5
    assert link.answers == [("toys-als-1", "refused", "its round is over")]
    assert service.ledger.state_of("toys-als-1") is None
    assert service.ledger.spent().epsilon == 0


def test_a_share_that_is_away_refuses_nothing(service: Service, late: Clock) -> None:
    link = service.link
    link.trouble = TransportError("could not list in the share")
    for _ in range(150):
        service.step()
        late.now += 10.0
    assert not link.answers
    postponed = [one for one in service.ledger.entries() if one.kind == "postponed"]
    assert len(postponed) == 1


def test_a_job_is_tried_at_once_a_few_times(service: Service, late: Clock) -> None:
    for _ in range(10):
        service.step()
    assert service.link.downloads == 6
    late.now += 1.0
    service.step()
    assert service.link.downloads == 7


def test_a_waiting_request_is_not_read_again_until_it_is_decided(
    service: Service,
    make_proposal: Proposals,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, read = service.link, []
    kept = desk.file_request

    def counting(*arguments: Any) -> desk.Request:
        read.append(1)
        return kept(*arguments)

    monkeypatch.setattr(desk, "file_request", counting)
    link.waiting = [make_submission("toys-proposal", make_proposal())]
    for _ in range(20):
        assert service.step() == 0
    assert len(read) == 1
    desk.reject(service.home, service.ledger, "toys", reason="not now", by="me")
    assert service.step() == 1
    ((job, status, message),) = link.answers
    assert (job, status) == ("toys-proposal", "refused")
    assert "not now" in message


def test_months_of_trying_are_no_trouble() -> None:
    clock = Clock()
    retries = Retries(clock)
    for _ in range(5000):
        retries.failed("toys-als-1")
        clock.now += 10.0
        assert retries.is_due("toys-als-1")


def test_what_is_answered_is_forgotten() -> None:
    clock = Clock()
    retries = Retries(clock)
    for number in range(1000):
        retries.failed(f"job-{number}")
    retries.keep_only({"job-7"})
    assert len(retries._jobs) == 1
