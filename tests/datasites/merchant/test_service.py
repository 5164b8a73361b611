"""One pass of the service over jobs, with crashes in between; only the link is a stand-in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save

from datasites.errors import ReviewError, SandboxError
from datasites.merchant import Ledger, MerchantHome, desk, runs
from datasites.merchant.sandbox import Limits
from datasites.merchant.service import Service
from datasites.protocol import Proposal, Result, Round, StateRef
from datasites.syftbox.types import Submission, SyncReport

Proposals = Callable[..., Proposal]
Submissions = Callable[..., Submission]


class Link:
    """Jobs in, answers out, all in memory."""

    own_fingerprint = "1111"

    def __init__(self) -> None:
        self.waiting: list[Submission] = []
        self.answers: list[tuple[str, str, str, dict[str, bytes]]] = []
        self.mocks: list[str] = []
        self.quarantined: list[tuple[str, str]] = []

    def sync(self) -> SyncReport:
        return SyncReport(0, self.quarantined)

    def peers(self) -> list[Any]:
        return []

    def submissions(self) -> list[Submission]:
        return list(self.waiting)

    def publish_mock(self, name: str, _summary: str, files: dict[str, bytes]) -> None:
        self.mocks += [name, *files]

    def is_settled(self, _job: str) -> bool:
        return False  # it may come again

    def reply(self, job: str, status: str, message: str, files: dict[str, bytes]) -> None:
        self.answers.append((job, status, message, files))
        self.waiting = [one for one in self.waiting if one.job != job]


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def service(home: MerchantHome, ledger: Ledger, link: Link) -> Service:
    # The mock takes a process of its own, a second each time; one test makes it.
    (home.private / "mock-published").touch()
    return Service(home, link, ledger)


@pytest.fixture
def approved(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> Proposal:
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal)]
    assert service.step() == 0
    desk.approve(service.home, service.ledger, "toys", by="me")
    assert service.step() == 1
    assert [(job, status) for job, status, *_ in link.answers] == [("toys-proposal", "done")]
    link.answers.clear()
    return proposal


def round_of(proposal: Proposal) -> Round:
    return Round(study=proposal.study, phase="counts", proposal_sha256=proposal.sha256)


def test_the_mock_is_published_once_and_holds_no_shopper(service: Service, link: Link) -> None:
    (service.home.private / "mock-published").unlink()
    service.step()
    service.step()
    assert link.mocks == ["mock-shop", "mock.csv"]


def test_what_was_not_approved_is_refused_and_costs_nothing(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    link.waiting = [
        make_submission("early", round_of(make_proposal())),
        make_submission("odd", {"kind": "round", "[/x]": 1}),
    ]
    assert service.step() == 2
    assert [(job, status) for job, status, *_ in link.answers] == [
        ("early", "refused"),
        ("odd", "refused"),
    ]
    assert service.ledger.spent().epsilon == 0
    assert [one.kind for one in service.ledger.entries()][-2:] == ["refused", "refused"]


def test_a_rejected_proposal_is_answered_with_the_reason(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    link.waiting = [make_submission("toys-proposal", make_proposal())]
    service.step()
    desk.reject(service.home, service.ledger, "toys", reason="not now", by="me")
    service.step()
    ((job, status, message, files),) = link.answers
    assert (job, status, files) == ("toys-proposal", "refused", {})
    assert message.startswith("rejected: not now. To ask again, submit under a new study name")


@pytest.mark.attack
def test_the_same_study_under_other_job_names_adds_no_line_to_the_ledger(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal)]
    service.step()
    before = len(service.ledger.requests())
    for number in range(5):
        link.waiting = [make_submission(f"again-{number}", proposal)]
        assert service.step() == 1
    assert {status for _, status, *_ in link.answers} == {"refused"}
    assert len(service.ledger.requests()) == before
    desk.reject(service.home, service.ledger, "toys", reason="no", by="me")
    link.waiting = [make_submission("once-more", proposal)]
    assert service.step() == 1
    assert len(service.ledger.requests()) == before


@pytest.mark.attack
def test_an_answer_that_cannot_be_given_costs_its_own_job_alone(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    real = link.reply

    def reply(job: str, *rest: Any) -> None:
        if job == "odd":
            raise ReviewError("not a name")
        real(job, *rest)

    link.reply = reply  # type: ignore[method-assign]
    link.waiting = [
        make_submission("odd", round_of(make_proposal())),
        make_submission("honest", round_of(make_proposal())),
    ]
    assert service.step() == 1
    assert [(job, status) for job, status, *_ in link.answers] == [("honest", "refused")]
    assert service.step() == 0


@pytest.mark.attack
def test_a_model_that_comes_again_is_not_fitted_again_and_another_is_refused(
    service: Service,
    link: Link,
    approved: Proposal,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: list[str] = []
    monkeypatch.setattr(
        "datasites.merchant.fit.run_in_own_process", lambda _home, study: fitted.append(study)
    )
    folder = service.home.models / approved.study
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    first, other = "a" * 64, "b" * 64
    folder.with_name(f"{folder.name}.sha256").write_text(first)
    for number, sha in enumerate((first, first, first, other)):
        state = StateRef(name="model", sha256=sha)
        result = Result(study=approved.study, proposal_sha256=approved.sha256, state=state)
        link.waiting = [make_submission(f"result-{number}", result)]
        assert service.step() == 1
    assert fitted == [approved.study]
    assert [status for _, status, *_ in link.answers] == ["done", "done", "done", "refused"]


@pytest.mark.slow
def test_one_job_is_run_and_paid_once_however_often_it_comes(
    service: Service, link: Link, approved: Proposal, make_submission: Submissions
) -> None:
    job = make_submission("toys-counts", round_of(approved))
    for _ in range(2):
        link.waiting = [job]
        assert service.step() == 1
    first, second = link.answers
    assert first == second
    assert first[1] == "done"
    assert list(first[3]) == ["release.safetensors"]
    kinds = [one.kind for one in service.ledger.entries()]
    assert kinds.count("reserved") == kinds.count("committed") == 1


def test_a_run_that_a_crash_cut_off_is_lost_and_stays_spent(
    service: Service, link: Link, approved: Proposal, make_submission: Submissions
) -> None:
    phase = approved.phase("counts")
    runs.prepare(service.home, "toys-counts", approved, phase)
    service.ledger.reserve("toys", "toys-counts", "counts", phase.privacy_events())
    spent = service.ledger.spent()
    after = Service(service.home, link, service.ledger)
    after.recover()
    link.waiting = [make_submission("toys-counts", round_of(approved))]
    assert after.step() == 1
    (answer,) = link.answers
    assert answer[1] == "failed"
    assert answer[3] == {}
    assert service.ledger.spent() == spent
    assert spent.epsilon > 0
    assert service.ledger.state_of("toys-counts") == "failed"


def test_a_release_that_was_kept_before_the_crash_is_booked_and_delivered(
    service: Service, link: Link, approved: Proposal, make_submission: Submissions
) -> None:
    import numpy as np

    phase = approved.phase("counts")
    runs.prepare(service.home, "toys-counts", approved, phase)
    service.ledger.reserve("toys", "toys-counts", "counts", phase.privacy_events())
    data = save({one.name: np.ones(one.shape, one.dtype) for one in phase.outputs})
    facts = {
        "arrays": {one.name: list(one.shape) for one in phase.outputs},
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
    }
    folder = service.home.runs / "toys-counts"
    (folder / "release.safetensors").write_bytes(data)
    (folder / "release.json").write_text(json.dumps(facts))
    after = Service(service.home, link, service.ledger)
    after.recover()
    after.recover()
    link.waiting = [make_submission("toys-counts", round_of(approved))]
    after.step()
    assert link.answers == [("toys-counts", "done", "", {"release.safetensors": data})]
    assert service.ledger.state_of("toys-counts") == "committed"


@pytest.mark.slow
def test_failing_code_tells_its_sender_nothing(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    main = "raise ValueError('s0000001 bought T00001')\n"
    proposal = make_proposal(study="sly")
    link.waiting = [make_submission("sly-proposal", proposal, main=main)]
    service.step()
    desk.approve(service.home, service.ledger, "sly", by="me", read_foreign_code=True)
    service.step()
    link.waiting = [make_submission("sly-counts", round_of(proposal), main=main)]
    service.step()
    assert link.answers[-1][:3] == (
        "sly-counts",
        "failed",
        "the run failed; its log stays at the merchant",
    )
    assert "s0000001" not in json.dumps([one.body for one in service.ledger.entries()])
    assert "s0000001" in (service.home.runs / "sly-counts" / "log.txt").read_text()


def test_a_run_that_breaks_off_ends_as_after_a_crash(
    service: Service,
    link: Link,
    make_proposal: Proposals,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal)]
    service.step()
    desk.approve(service.home, service.ledger, "toys", by="me")
    order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
    link.waiting = [make_submission("toys-counts", order)]

    def breaks(*_: object) -> None:
        raise ValueError("shopper 7 bought 3")

    monkeypatch.setattr("datasites.merchant.runs.execute", breaks)
    link.answers.clear()
    service.step()
    assert link.answers == []
    service.step()
    ((job, status, message, files),) = link.answers
    assert (job, status, files) == ("toys-counts", "failed", {})
    assert "shopper" not in message
    assert service.ledger.state_of("toys-counts") == "failed"
    assert not any("shopper 7" in str(entry.body) for entry in service.ledger.entries())


def test_a_run_that_is_refused_after_its_cost_was_booked_has_failed(
    service: Service,
    link: Link,
    approved: Proposal,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise ReviewError("the copy that is to run is not what was approved")

    monkeypatch.setattr("datasites.merchant.runs.execute", refuses)
    link.waiting = [make_submission("toys-counts", round_of(approved))]
    assert service.step() == 1
    assert [status for _, status, *_ in link.answers] == ["failed"]
    assert service.ledger.open_reservations() == []


@pytest.mark.attack
def test_what_is_refused_leaves_nothing_on_the_disk(
    service: Service, link: Link, approved: Proposal, make_submission: Submissions
) -> None:
    def download(_sender: str, _name: str, _sha256: str, folder: Path) -> None:
        (folder / "state.safetensors").write_bytes(bytes(1 << 20))

    link.download_state = download  # type: ignore[attr-defined]
    state = StateRef(name="state", sha256="a" * 64)
    phase = approved.phases[-1].name
    order = Round(study=approved.study, phase=phase, proposal_sha256=approved.sha256, state=state)
    link.waiting = [make_submission(f"toys-{phase}", order)]
    assert service.step() == 1
    assert [status for _, status, *_ in link.answers] == ["refused"]
    assert not list(service.home.runs.iterdir())
    assert service.ledger.spent().epsilon == 0


@pytest.mark.parametrize("megabytes", [1, 100])
def test_code_may_write_as_much_as_it_declares(
    service: Service,
    link: Link,
    make_proposal: Proposals,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
    megabytes: int,
) -> None:
    found = []

    def run(*_: object, limits: Limits, **__: object) -> None:
        found.append(limits.output_mb)
        raise SandboxError("not run")

    monkeypatch.setattr("datasites.merchant.sandbox.run", run)
    first = make_proposal().phases[0]
    large = first.outputs[0].model_copy(update={"shape": (megabytes, 1 << 17), "dtype": "float64"})
    phase = first.model_copy(update={"outputs": (large,)})
    proposal = make_proposal(recipe="mine", phases=(phase,))
    link.waiting = [make_submission("toys-proposal", proposal, main="print()")]
    service.step()
    desk.approve(service.home, service.ledger, "toys", by="me", read_foreign_code=True)
    link.waiting = [make_submission("toys-counts", round_of(proposal), main="print()")]
    service.step()
    assert found == [max(64, megabytes + 2)]
    folder = service.home.runs / "toys-counts"
    assert not (folder / "inputs").exists()
    assert not (folder / "output").exists()


def test_the_job_under_way_is_finished_and_no_other_begun_when_asked_to_stop(
    service: Service, link: Link, make_proposal: Proposals, make_submission: Submissions
) -> None:
    link.waiting = [make_submission(f"early-{n}", round_of(make_proposal())) for n in range(3)]
    asked = iter([False, True])
    assert service.step(lambda: next(asked)) == 1
    assert len(link.answers) == 1
    assert service.step() == 2


def test_what_lies_on_the_desk_was_booked_before(
    service: Service,
    link: Link,
    make_proposal: Proposals,
    make_submission: Submissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stopped(BaseException):
        pass

    def stops(*_: object) -> None:
        raise Stopped

    link.waiting = [make_submission("toys-proposal", make_proposal())]
    with monkeypatch.context() as killed:
        killed.setattr("datasites.merchant.ledger.Ledger.request", stops)
        with pytest.raises(Stopped):
            service.step()
    # Listed, and not in the books, it could be clicked on and not be decided.
    assert desk.requests(service.home, service.ledger) == []
    service.step()
    desk.approve(service.home, service.ledger, "toys", by="me")
