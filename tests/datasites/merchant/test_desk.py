"""Review and approval: what a merchant is told, and what an approval binds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.errors import BudgetError, ReviewError
from datasites.merchant import Ledger, MerchantHome, desk
from datasites.protocol import Proposal, Round
from datasites.syftbox.types import Submission
from recsys.privacy import Budget, SubsampledGaussianEvent

Proposals = Callable[..., Proposal]
Submissions = Callable[..., Submission]


@pytest.fixture
def arrive(
    empty_home: MerchantHome, ledger: Ledger, make_submission: Submissions
) -> Callable[..., Submission]:
    def arrive(proposal: Proposal, main: str | None = None) -> Submission:
        submission = make_submission(f"{proposal.study}-proposal", proposal, main=main)
        desk.file_request(empty_home, ledger, submission, proposal)
        return submission

    return arrive


def test_the_shipped_recipe_gets_its_badge(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    arrive(make_proposal())
    found = desk.review(home, ledger, "toys")
    assert found.shipped
    assert found.difference == ""
    assert found.problems == []
    assert found.spent_epsilon == 0
    assert 0.9 < found.cost_epsilon <= 1.0 + 1e-9
    assert found.after_epsilon == pytest.approx(found.cost_epsilon)
    given = desk.approve(home, ledger, "toys", by="me")
    assert given.rounds == 3
    assert desk.review(home, ledger, "toys").spent_epsilon == pytest.approx(found.cost_epsilon)


def test_changed_code_shows_its_difference_and_needs_a_reader(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    arrive(make_proposal(), main="import socket\n")
    found = desk.review(home, ledger, "toys")
    assert not found.shipped
    assert "+import socket" in found.difference
    assert any("socket" in finding.what for finding in found.findings)
    with pytest.raises(ReviewError, match="author's word"):
        desk.approve(home, ledger, "toys", by="me")
    assert ledger.approval("toys") is None
    assert desk.approve(home, ledger, "toys", by="me", read_foreign_code=True).study == "toys"


def test_a_recipe_that_declares_less_than_it_costs_is_found_out(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    cheap = make_proposal(epsilon=0.1)
    arrive(make_proposal(phases=cheap.phases))
    fewer = make_proposal(study="fewer")
    arrive(fewer.model_copy(update={"phases": fewer.phases[:1]}))
    arrive(make_proposal(study="odd", settings={"rounds": 10**9}))
    for study, told in [("toys", "not what this recipe"), ("fewer", "not what"), ("odd", "rounds")]:
        (problem,) = desk.review(home, ledger, study).problems
        assert told in problem
        with pytest.raises(ReviewError, match="cannot be approved"):
            desk.approve(home, ledger, study, by="me", read_foreign_code=True)


def test_another_catalogue_or_no_data_cannot_be_approved(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    arrive(make_proposal(catalogue="0" * 64))
    assert "another catalogue" in desk.review(home, ledger, "toys").problems[0]
    (home.data / "shop.parquet").unlink()
    assert "no data yet" in desk.review(home, ledger, "toys").problems[0]
    with pytest.raises(ReviewError, match="add-data"):
        desk.approve(home, ledger, "toys", by="me")


def test_a_budget_that_would_be_exceeded_stops_everything_before_it_starts(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    arrive(make_proposal(epsilon=0.9))
    arrive(make_proposal(study="second", epsilon=0.9))
    desk.approve(home, ledger, "toys", by="me")
    before = ledger.entries()
    with pytest.raises(BudgetError, match="above its budget of 1"):
        desk.approve(home, ledger, "second", by="me")
    assert ledger.entries() == before
    desk.revoke(home, ledger, "toys", by="me")
    desk.approve(home, ledger, "second", by="me")


def test_a_review_tells_what_all_periods_together_may_cost(
    home: MerchantHome,
    tmp_path: Path,
    make_proposal: Proposals,
    make_submission: Submissions,
) -> None:
    now = [datetime.now(UTC)]
    ledger = Ledger.create(
        tmp_path / "ledger.jsonl",
        Budget(1.0, 1e-5),
        period_days=30,
        lifetime_epsilon=1.1,
        clock=lambda: now[0],
    )
    first = make_proposal(study="first", epsilon=0.9)
    desk.file_request(home, ledger, make_submission("first-proposal", first), first)
    desk.approve(home, ledger, "first", by="me")
    for phase in first.phases:
        ledger.reserve("first", f"first-{phase.name}", phase.name, phase.privacy_events())
    now[0] += timedelta(days=31)
    ledger.renew(now[0].date(), "me")
    second = make_proposal(study="second", epsilon=0.9)
    desk.file_request(home, ledger, make_submission("second-proposal", second), second)
    found = desk.review(home, ledger, "second")
    assert found.after_epsilon < 1.0
    assert "of at most 1.1" in found.problems[-1]
    with pytest.raises(BudgetError, match="All periods together"):
        desk.approve(home, ledger, "second", by="me")


def test_dp_sgd_is_reviewed_and_booked_beside_what_is_held(
    home: MerchantHome, ledger: Ledger, arrive: Submissions, make_proposal: Proposals
) -> None:
    def towers(study: str, noise: float) -> Proposal:
        first = make_proposal().phases[0]
        event = SubsampledGaussianEvent("towers", noise, 0.02, 200)
        phase = first.model_copy(update={"name": "towers-1", "events": (event.to_dict(),)})
        return make_proposal(study=study, recipe="mine", phases=(phase,))

    arrive(make_proposal(epsilon=0.8))
    arrive(towers("small", 4.0), "print('towers')\n")
    arrive(towers("large", 1.7), "print('towers')\n")
    desk.approve(home, ledger, "toys", by="me")
    held = ledger.held().epsilon(1e-5)
    found = desk.review(home, ledger, "small")
    assert found.problems == []
    assert 0 < found.cost_epsilon < 0.8
    assert found.spent_epsilon == pytest.approx(held)
    assert held < found.after_epsilon < 1.0
    given = desk.approve(home, ledger, "small", by="me", read_foreign_code=True)
    assert given.events == (SubsampledGaussianEvent("towers", 4.0, 0.02, 200),)
    assert ledger.held().epsilon(1e-5) == pytest.approx(found.after_epsilon)
    large = desk.review(home, ledger, "large")
    assert large.cost_epsilon < 1.0 < large.after_epsilon
    with pytest.raises(BudgetError, match="above its budget of 1"):
        desk.approve(home, ledger, "large", by="me", read_foreign_code=True)


def test_a_request_tells_what_became_of_it(
    home: MerchantHome, make_submission: Submissions, make_proposal: Proposals
) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Ledger.create(home.ledger_path, Budget(1.0, 1e-5), clock=lambda: now[0]) as ledger:
        for study in ("yes", "no", "back", "late", "open"):
            proposal = make_proposal(study=study, epsilon=0.3)
            desk.file_request(
                home, ledger, make_submission(f"{study}-proposal", proposal), proposal
            )
        for study, days in [("yes", 365), ("back", 30)]:
            desk.approve(home, ledger, study, by="me", days=days)
        late = next(one for one in desk.requests(home, ledger) if one.study == "late")
        ledger.approve(
            late.job,
            study="late",
            sender=late.sender,
            code_sha256=late.code_sha256,
            params_sha256=late.proposal.sha256,
            events=late.proposal.events(),
            rounds=3,
            expires=now[0] + timedelta(hours=1),
            by="me",
        )
        now[0] += timedelta(hours=2)
        desk.reject(home, ledger, "no", reason="not now", by="me")
        desk.revoke(home, ledger, "back", by="me")
        found = {one.study: one for one in desk.requests(home, ledger)}
        assert {study: one.status for study, one in found.items()} == {
            "yes": "approved",
            "no": "rejected",
            "back": "revoked",
            "late": "expired",
            "open": "pending",
        }
        assert found["no"].status_text.startswith("rejected: not now. To ask again")
        for study in ("yes", "no"):
            with pytest.raises(ReviewError):
                desk.approve(home, ledger, study, by="me")
        with pytest.raises(ReviewError, match="back, late, no, open, yes"):
            desk.review(home, ledger, "nothing")


def test_a_name_belongs_to_the_request_that_came_first(
    home: MerchantHome,
    ledger: Ledger,
    arrive: Submissions,
    make_proposal: Proposals,
    make_submission: Submissions,
) -> None:
    first = arrive(make_proposal())
    desk.file_request(home, ledger, first, make_proposal())
    assert len(ledger.requests()) == 1
    for number, (proposal, main, sender) in enumerate(
        [
            (make_proposal(epsilon=0.5), None, first.sender),
            (make_proposal(), "print()", first.sender),
            (make_proposal(), None, "eve@science.test"),
        ]
    ):
        other = make_submission(f"again-{number}", proposal, main=main, sender=sender)
        with pytest.raises(ReviewError, match="taken here"):
            desk.file_request(home, ledger, other, proposal)


def test_a_round_must_be_what_was_approved(
    home: MerchantHome,
    ledger: Ledger,
    arrive: Submissions,
    make_proposal: Proposals,
    make_submission: Submissions,
) -> None:
    proposal = make_proposal()
    arrive(proposal)
    order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
    good = make_submission("toys-counts", order)
    with pytest.raises(ReviewError, match="no standing approval"):
        desk.check_round(home, ledger, good, order)
    desk.approve(home, ledger, "toys", by="me")
    assert desk.check_round(home, ledger, good, order) == (proposal, proposal.phase("counts"))

    with pytest.raises(ReviewError, match="no standing approval"):
        desk.check_round(home, ledger, replace(good, sender="eve@science.test"), order)
    with pytest.raises(ReviewError, match="another proposal"):
        desk.check_round(home, ledger, good, order.model_copy(update={"proposal_sha256": "0" * 64}))
    with pytest.raises(ReviewError, match="no phase 'als-2'"):
        desk.check_round(home, ledger, good, order.model_copy(update={"phase": "als-2"}))
    flip_last_byte(good.code / "main.py")
    with pytest.raises(ReviewError, match="not the approved one"):
        desk.check_round(home, ledger, good, order)


def test_the_copy_on_the_desk_is_watched_too(
    home: MerchantHome,
    ledger: Ledger,
    arrive: Submissions,
    make_proposal: Proposals,
    make_submission: Submissions,
) -> None:
    proposal = make_proposal()
    arrive(proposal)
    desk.approve(home, ledger, "toys", by="me")
    order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
    flip_last_byte(home.requests / "toys" / "code" / "main.py")
    with pytest.raises(ReviewError, match="not the approved one"):
        desk.check_round(home, ledger, make_submission("toys-counts", order), order)
    file = home.requests / "toys" / "proposal.json"
    file.write_text(proposal.model_copy(update={"epsilon": 0.5}).model_dump_json())
    with pytest.raises(ReviewError, match="changed here"):
        desk.check_round(home, ledger, make_submission("toys-counts-2", order), order)


def flip_last_byte(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b" ")
