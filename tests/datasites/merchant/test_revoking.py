"""Revoking counts from the moment it is booked, whatever is under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from datasites.errors import PeerError, ReviewError
from datasites.merchant import Ledger, MerchantHome, desk, peers, runs, sandbox
from datasites.merchant.service import Service
from datasites.protocol import Proposal, Round
from datasites.syftbox.types import Peer, Submission, SyncReport

pytestmark = [pytest.mark.attack, pytest.mark.slow]
ADA = "ada@science.test"
SLOW = "import time\ntime.sleep(60)\n"


class Link:
    """Jobs in, answers out, all in memory; knows one peer."""

    own_fingerprint = "1111"

    def __init__(self) -> None:
        self.waiting: list[Submission] = []
        self.answers: list[tuple[str, str]] = []
        self.peer = Peer(ADA, "accepted", "aaaa bbbb")
        self.hears: Callable[[str], bool] = lambda _email: True

    def sync(self) -> SyncReport:
        return SyncReport(0, [])

    def peers(self) -> list[Peer]:
        return [self.peer]

    def revoke_peer(self, email: str) -> None:
        assert email == ADA
        self.peer = Peer(ADA, "revoked", "aaaa bbbb")
        self.waiting = []

    def submissions(self) -> list[Submission]:
        return list(self.waiting)

    def publish_mock(self, *_: object) -> None:
        pass

    def is_settled(self, job: str) -> bool:
        return all(one.job != job for one in self.waiting)

    def reply(self, job: str, status: str, message: str, files: dict[str, bytes]) -> None:
        assert status != "done" or not files
        self.answers.append((job, status))
        self.waiting = [one for one in self.waiting if one.job != job]


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def service(home: MerchantHome, ledger: Ledger, link: Link) -> Service:
    return Service(home, link, ledger)


@pytest.fixture
def job(
    service: Service,
    link: Link,
    make_proposal: Callable[..., Proposal],
    make_submission: Callable[..., Submission],
) -> Submission:
    """A round of an approved study, whose code would take a minute."""
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal, main=SLOW)]
    service.step()
    desk.approve(service.home, service.ledger, "toys", by="me", read_foreign_code=True)
    service.step()
    link.answers.clear()
    order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
    return make_submission("toys-counts", order, main=SLOW)


def _while_running(service: Service, act: Callable[[], None]) -> float:
    """Run a pass; once the code runs, `act`. Returns seconds from the act to the pass's end."""
    log = service.home.runs / "toys-counts" / "log.txt"
    acted: list[float] = []

    def meddle() -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end and not log.exists():
            time.sleep(0.02)
        time.sleep(0.3)
        act()
        acted.append(time.monotonic())

    thread = threading.Thread(target=meddle)
    thread.start()
    service.step()
    ended = time.monotonic()
    thread.join()
    return ended - acted[0]


def test_revoking_a_peer_ends_its_run_and_nothing_is_sent(
    service: Service, link: Link, job: Submission
) -> None:
    link.waiting = [job]
    home, ledger = service.home, service.ledger
    # As the command line does it: a ledger of its own on the same file.
    other = Ledger.open(home.ledger_path)
    late = _while_running(service, lambda: peers.revoke(home, other, ADA, by="me"))
    # The code would sleep for a minute.
    assert late < 20
    assert link.answers == []
    assert ledger.state_of("toys-counts") == "failed"
    assert ledger.spent().epsilon > 0
    assert not runs.has_release(home, "toys-counts")
    spent = ledger.spent()
    link.waiting = [job]
    service.step()
    assert (link.answers, link.waiting, link.peer.state) == ([], [], "revoked")
    assert ledger.spent() == spent


def test_revoking_a_study_ends_its_run(service: Service, link: Link, job: Submission) -> None:
    link.waiting = [job]
    home = service.home
    other = Ledger.open(home.ledger_path)
    assert _while_running(service, lambda: desk.revoke(home, other, "toys", by="me")) < 20
    assert link.answers == [("toys-counts", "failed")]
    assert service.ledger.state_of("toys-counts") == "failed"
    assert service.ledger.spent().epsilon > 0


def test_a_cancelled_run_says_so_and_never_starts_if_cancelled_before(tmp_path: Any) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text("print('begun')")
    ended = sandbox.run(
        code, {}, tmp_path / "out", tmp_path / "log", import_roots=[], cancelled=lambda: True
    )
    assert (ended.ok, ended.ending) == (False, sandbox.Ending.CANCELLED)
    assert b"begun" not in (tmp_path / "log").read_bytes()


def test_a_release_made_before_the_revocation_does_not_leave_after_it(
    service: Service, link: Link, job: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished(home: MerchantHome, *_: object, **__: object) -> dict[str, Any]:
        peers.revoke(home, Ledger.open(home.ledger_path), ADA, by="me")
        return {"arrays": {"counts": [1]}, "sha256": "0" * 64, "bytes": 1}

    monkeypatch.setattr(runs, "execute", finished)
    link.waiting = [job]
    service.step()
    assert link.answers == []
    assert service.ledger.state_of("toys-counts") == "failed"


def test_a_committed_release_is_not_sent_once_its_study_is_revoked(
    service: Service, link: Link, job: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"arrays": {"counts": [1]}, "sha256": "0" * 64, "bytes": 1}
    monkeypatch.setattr(runs, "execute", lambda *_a, **_k: facts)

    def crash(*_: object) -> dict[str, bytes]:
        raise OSError("the power fails")

    monkeypatch.setattr(runs, "release_files", crash)
    link.waiting = [job]
    service.step()
    assert (service.ledger.state_of("toys-counts"), link.answers) == ("committed", [])
    desk.revoke(service.home, service.ledger, "toys", by="me")
    service.step()
    assert link.answers == [("toys-counts", "failed")]


def test_a_kept_release_of_a_revoked_peer_does_not_stop_recovery(
    service: Service, link: Link, job: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = service.ledger
    approval = ledger.approval("toys")
    assert approval is not None
    ledger.reserve("toys", "toys-counts", "counts", approval.events[:1])
    # The decision alone, as if the command line was killed before it took the approval back.
    ledger.note("peer-revoked", {"email": ADA, "by": "me"})
    facts = {"arrays": {"counts": [1]}, "sha256": "0" * 64, "bytes": 1}
    monkeypatch.setattr(runs, "has_release", lambda *_: True)
    monkeypatch.setattr(runs, "release_facts", lambda *_: facts)
    service.recover()
    assert ledger.state_of("toys-counts") == "failed"
    assert ledger.approval("toys") is not None
    service.step()
    assert ledger.approval("toys") is None
    assert link.peer.state == "revoked"


def test_the_ledger_itself_refuses_a_revoked_peers_runs(service: Service, job: Submission) -> None:
    ledger = service.ledger
    approval = ledger.approval("toys")
    assert approval is not None
    ledger.note("peer-revoked", {"email": ADA, "by": "me"})
    with pytest.raises(ReviewError, match="revoked"):
        ledger.reserve("toys", "toys-counts", "counts", approval.events[:1])
    ledger.note("peer-approved", {"email": ADA, "fingerprint": "aaaa bbbb", "by": "me"})
    ledger.reserve("toys", "toys-counts", "counts", approval.events[:1])
    ledger.note("peer-revoked", {"email": ADA, "by": "me"})
    with pytest.raises(ReviewError, match="revoked"):
        ledger.commit("toys-counts", {"arrays": {}, "sha256": "0" * 64, "bytes": 1})


def test_revoking_takes_back_approvals_and_rejects_what_waits(
    service: Service,
    link: Link,
    job: Submission,
    make_proposal: Callable[..., Proposal],
    make_submission: Callable[..., Submission],
) -> None:
    link.waiting = [make_submission("more-proposal", make_proposal(study="more", epsilon=0.1))]
    service.step()
    states = {one.study: one.status for one in desk.requests(service.home, service.ledger)}
    assert states == {"toys": "approved", "more": "pending"}
    peers.revoke(service.home, service.ledger, ADA, by="me")
    states = {one.study: one.status for one in desk.requests(service.home, service.ledger)}
    assert states == {"toys": "revoked", "more": "rejected"}
    # Pairing again revives nothing.
    service.ledger.note("peer-approved", {"email": ADA, "fingerprint": "cccc", "by": "me"})
    assert service.ledger.approval("toys") is None


def test_a_mistyped_peer_is_not_revoked_silently(service: Service) -> None:
    with pytest.raises(PeerError, match=r"found none called 'adda@science.test'"):
        peers.revoke(service.home, service.ledger, "adda@science.test", by="me")
