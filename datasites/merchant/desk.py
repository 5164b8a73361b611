"""The merchant's desk: requests, review, approval. What command line and console both call.

An approval binds, by sha256, every file of the code and every word of the proposal (settings,
phases, outputs, privacy events), until it expires or is revoked. A round is run only if it is
part of an approved proposal, comes from the same data scientist and brings the same code.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from datasites.errors import BudgetError, ReviewError, SettingsError
from datasites.merchant import code as remote_code
from datasites.merchant.contributions.apart import is_program
from datasites.merchant.decisions import Decisions
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Approval, Ledger
from datasites.merchant.scan import Finding, scan_code
from datasites.merchant.stale import data_turn
from datasites.private import damaged, read_private
from datasites.protocol import Phase, Proposal, Result, Round
from datasites.recipes import recipe_named, recipe_names
from recsys.errors import ToyFedError
from recsys.files import atomic_write_text
from recsys.privacy import Budget, Tally

if TYPE_CHECKING:
    from datasites.syftbox import Submission

__all__ = [
    "Request",
    "Review",
    "approve",
    "check_result",
    "check_round",
    "damaged_requests",
    "file_request",
    "reject",
    "requests",
    "review",
    "revoke",
]

APPROVAL_DAYS = 30
_MEND = (
    "Put the study's folder back from a backup; nothing of it runs until then, and everything else "
    "goes on. One that is not decided yet may be removed instead: it is filed again."
)


@dataclass(frozen=True)
class Request:
    """A code request as it lies on the desk."""

    study: str
    job: str
    sender: str
    received_at: str
    code: Path
    code_sha256: str
    proposal: Proposal
    status: str  # "pending", "approved", "rejected", "revoked", "expired"
    status_text: str


@dataclass(frozen=True)
class Review:
    """What a merchant should know before saying yes. Public: nothing in it depends on shoppers."""

    request: Request
    shipped: bool  # byte-identical to the recipe of this installation: the green badge
    noised_here: bool  # the code says what one shopper adds; ToyFed itself adds the noise
    difference: str  # unified diff against that recipe, "" when identical or unknown
    findings: list[Finding]
    problems: list[str]  # reasons why it cannot be approved at all
    over_budget: bool  # whether the last of them is that it costs too much
    cost_epsilon: float  # of everything the study releases, by itself
    spent_epsilon: float  # of everything already booked or promised here
    after_epsilon: float  # of both together
    budget: Budget


def file_request(
    home: MerchantHome, ledger: Ledger, submission: Submission, proposal: Proposal
) -> Request:
    """Put an arrived proposal on the desk, once; the code is copied and never changes again.

    Raises ReviewError if the study's name is already taken by another request.
    """
    folder = home.requests / proposal.study
    digest = remote_code.code_digest(submission.code)

    def book() -> None:
        ledger.request(
            submission.job,
            proposal.study,
            submission.sender,
            digest,
            proposal.sha256,
            {"recipe": proposal.recipe, "epsilon": proposal.epsilon, "delta": proposal.delta},
        )

    if not (folder / "request.json").exists():
        fresh = home.requests / f".{proposal.study}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(submission.code, fresh / "code")
        atomic_write_text(fresh / "proposal.json", proposal.model_dump_json(indent=1))
        facts = {
            "job": submission.job,
            "sender": submission.sender,
            "received_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_sha256": digest,
        }
        atomic_write_text(fresh / "request.json", json.dumps(facts))
        # Booked first: what lies on the desk can be decided on, also if the service stops here.
        book()
        shutil.rmtree(folder, ignore_errors=True)
        fresh.replace(folder)
    request = _read_request(home, Decisions(ledger), proposal.study)
    if (request.sender, request.code_sha256, request.proposal.sha256) != (
        submission.sender,
        digest,
        proposal.sha256,
    ):
        raise ReviewError(
            f"the study name '{proposal.study}' is taken here by another request. "
            "Submit under a new name."
        )
    if request.job != submission.job:
        # Booked once: the ledger keeps every line for ever. A second message adds nothing.
        if request.status == "pending":
            raise ReviewError(
                f"the study '{proposal.study}' was sent before and waits for its answer there."
            )
        return request
    book()
    return request


def requests(home: MerchantHome, ledger: Ledger) -> list[Request]:
    """Every request that ever arrived, newest first."""
    found, decisions = [], Decisions(ledger)
    for path in home.requests.glob("[a-z0-9]*/request.json"):
        with contextlib.suppress(SettingsError):
            found.append(_read_request(home, decisions, path.parent.name))
    return sorted(found, key=lambda request: request.received_at, reverse=True)


def damaged_requests(home: MerchantHome, ledger: Ledger) -> list[str]:
    """What is wrong with requests whose files cannot be read, in words; the others go on."""
    found, decisions = [], Decisions(ledger)
    for study in sorted({request.study for request in ledger.requests()}):
        try:
            _read_request(home, decisions, study)
        except (SettingsError, ReviewError) as error:
            found.append(str(error))
    return found


def _facts(data: bytes) -> dict[str, str]:
    facts = json.loads(data)
    return {name: str(facts[name]) for name in ("job", "sender", "received_at", "code_sha256")}


def _read_request(home: MerchantHome, decisions: Decisions, study: str) -> Request:
    folder = home.requests / study
    try:
        facts = read_private(folder / "request.json", _facts, _MEND)
        proposal = read_private(folder / "proposal.json", Proposal.model_validate_json, _MEND)
    except FileNotFoundError as error:
        if folder.is_dir():
            raise damaged(Path(error.filename), "it is missing", _MEND) from None
        names = sorted(path.parent.name for path in home.requests.glob("[a-z0-9]*/request.json"))
        raise ReviewError(
            f"expected a request for the study '{study}', found "
            f"{', '.join(names) if names else 'no requests yet'}. "
            "`toyfed datasite requests` lists them."
        ) from None
    status, text = decisions.of(facts["job"], study)
    return Request(
        study=study,
        job=facts["job"],
        sender=facts["sender"],
        received_at=facts["received_at"],
        code=folder / "code",
        code_sha256=facts["code_sha256"],
        proposal=proposal,
        status=status,
        status_text=text,
    )


def review(home: MerchantHome, ledger: Ledger, study: str) -> Review:
    """Everything a merchant should see before deciding. Runs no line of the submitted code."""
    request = _read_request(home, Decisions(ledger), study)
    proposal = request.proposal
    problems: list[str] = []
    shipped, difference = False, ""
    noised_here = is_program(proposal.recipe)
    if proposal.recipe in recipe_names():
        recipe = recipe_named(proposal.recipe)
        shipped = remote_code.is_identical(request.code, recipe.code)
        difference = "" if shipped else remote_code.diff_against(request.code, recipe.code)
        if shipped or noised_here:
            problems += _declared_otherwise(proposal)
    if noised_here and not problems and (too_much := _too_much_memory(home, proposal)):
        problems.append(too_much)
    toys = home.data / "catalogue.parquet"
    if not has_data(home):
        problems.append("this datasite has no data yet: `toyfed datasite add-data` comes first")
    elif _about(toys, toys.stat().st_mtime_ns) != (proposal.catalogue, proposal.n_items):
        problems.append("the study is about another catalogue than the one this datasite uses")
    budget = ledger.budget
    cost, held = Tally.of(proposal.events()), ledger.held()
    both = held + cost if request.status == "pending" else held
    after = both.epsilon(budget.delta)
    over_budget = request.status == "pending" and after > budget.epsilon * (1 + 1e-6)
    if over_budget:
        problems.append(
            f"it would bring this datasite to epsilon {after:.3g}, above its budget of "
            f"{budget.epsilon:.3g} at delta {budget.delta:g}"
        )
    elif request.status == "pending":
        try:
            ledger.check_room(proposal.events())  # also what all periods together may cost
        except BudgetError as error:
            over_budget = True
            problems.append(str(error).rstrip("."))
    return Review(
        request=request,
        shipped=shipped,
        noised_here=noised_here,
        difference=difference,
        findings=scan_code(request.code),
        problems=problems,
        over_budget=over_budget,
        cost_epsilon=cost.epsilon(budget.delta),
        spent_epsilon=held.epsilon(budget.delta),
        after_epsilon=after,
        budget=budget,
    )


@lru_cache(maxsize=4)
def _about(catalogue: Path, stamp: int) -> tuple[str, int]:
    """Digest and size of a catalogue; a page reviews many requests, and reading takes long."""
    from recsys.data import read_catalogue

    del stamp  # only there to read again when the file changes
    toys, _ = read_catalogue(catalogue)
    return toys.digest, toys.n_items


def _declared_otherwise(proposal: Proposal) -> list[str]:
    """For a shipped recipe the merchant computes outputs and cost itself and compares."""
    recipe = recipe_named(proposal.recipe)
    try:
        settings = recipe.complete(proposal.settings)
        budget = Budget(proposal.epsilon, proposal.delta)
        expected = recipe.phases(settings, budget, proposal.n_items)
    except (ToyFedError, ValueError, ArithmeticError, RuntimeError) as error:
        return [f"its settings are not valid for this recipe: {error}"]
    if settings != proposal.settings or expected != proposal.phases:
        return ["what it declares to release is not what this recipe releases with its settings"]
    return []


def has_data(home: MerchantHome) -> bool:
    """Whether purchases and catalogue have been added."""
    return (home.data / "shop.parquet").exists() and (home.data / "catalogue.parquet").exists()


def approve(
    home: MerchantHome,
    ledger: Ledger,
    study: str,
    *,
    by: str,
    days: int = APPROVAL_DAYS,
    read_foreign_code: bool = False,
) -> Approval:
    """Say yes: promise the study's whole cost and bind its code and words for `days` days.

    Code that is not byte-identical to a shipped recipe needs `read_foreign_code`: ToyFed cannot
    vouch that it costs what it declares.

    Raises ReviewError (nothing changed) with the problems found, BudgetError if it does not fit.
    """
    with data_turn(home):
        # What is approved is approved for the purchases and the catalogue that are here now.
        return _approve(home, ledger, study, by, days, read_foreign_code)


def _approve(
    home: MerchantHome, ledger: Ledger, study: str, by: str, days: int, read_foreign_code: bool
) -> Approval:
    found = review(home, ledger, study)
    request = found.request
    if found.problems:
        kind = BudgetError if found.over_budget else ReviewError
        raise kind(f"'{study}' cannot be approved: {'; '.join(found.problems)}.")
    if not found.shipped and found.noised_here and not read_foreign_code:
        raise ReviewError(
            f"'{study}' brings a program of its author's. ToyFed itself clips, sums and adds the "
            "noise, so its sums cost no more privacy than it declares (how long a run takes is not "
            "hidden); what it computes, and whether that is worth the budget, is for you to judge. "
            "Look at it (`toyfed datasite requests STUDY --code`), then approve with "
            "--i-have-read-the-code, or reject it."
        )
    if not found.shipped and not read_foreign_code:
        raise ReviewError(
            f"the code of '{study}' is not a recipe of this installation: its privacy cost is its "
            "author's word. Read it (`toyfed datasite requests STUDY --code`), then approve with "
            "--i-have-read-the-code, or reject it."
        )
    return ledger.approve(
        request.job,
        study=study,
        sender=request.sender,
        code_sha256=request.code_sha256,
        params_sha256=request.proposal.sha256,
        events=request.proposal.events(),
        rounds=len(request.proposal.phases),
        phases=[phase.name for phase in request.proposal.phases],
        expires=datetime.now(UTC) + timedelta(days=days),
        by=by,
    )


def reject(home: MerchantHome, ledger: Ledger, study: str, *, reason: str, by: str) -> None:
    """Say no; the data scientist sees the reason. Raises ReviewError if there is no request."""
    request = _read_request(home, Decisions(ledger), study)
    ledger.reject(request.job, reason, by)


def revoke(home: MerchantHome, ledger: Ledger, study: str, *, by: str) -> None:
    """Take an approval back: no further round runs; what was released stays spent."""
    _read_request(home, Decisions(ledger), study)
    ledger.revoke(study, by)


def check_round(
    home: MerchantHome, ledger: Ledger, submission: Submission, order: Round
) -> tuple[Proposal, Phase]:
    """Whether a round is exactly what was approved. Raises ReviewError that says what differs."""
    request = _same_study(home, ledger, submission, order)
    phase = request.proposal.phase(order.phase)
    digest = remote_code.code_digest(submission.code)
    approved = remote_code.code_digest(request.code)
    if digest != request.code_sha256 or approved != request.code_sha256:
        raise ReviewError(
            f"the code of '{submission.job}' is not the approved one (sha256 {digest[:12]}…, "
            f"approved {request.code_sha256[:12]}…). It is not run; propose it as a new study."
        )
    if is_program(request.proposal.recipe) and _too_much_memory(home, request.proposal):
        # What the merchant allows may be less since the approval; how much it is, stays here.
        raise ReviewError(
            f"the program of '{order.study}' may take more memory than remote code may use here. "
            "Propose it with a smaller memory_mb."
        )
    return request.proposal, phase


def _too_much_memory(home: MerchantHome, proposal: Proposal) -> str:
    """What is wrong with the memory that a program asks for; empty if nothing."""
    needed, allowed = int(proposal.settings.get("memory_mb", 0)), home.settings.memory_mb
    if needed <= allowed:
        return ""
    return (
        f"its program may take {needed} MB for one shopper, above the {allowed} MB that remote "
        "code may use here (memory_mb in merchant.toml)"
    )


def check_result(
    home: MerchantHome, ledger: Ledger, submission: Submission, result: Result
) -> Path:
    """Whether a finished model belongs to an approved study; returns where it is kept."""
    request = _same_study(home, ledger, submission, result)
    return home.models / request.study


def _same_study(
    home: MerchantHome, ledger: Ledger, submission: Submission, message: Round | Result
) -> Request:
    # The ledger is asked first: a peer learns nothing of studies that are not its own.
    approval = ledger.approval(message.study)
    if approval is None:
        raise ReviewError(f"'{message.study}' has no standing approval here: nothing of it runs")
    if submission.sender != approval.sender:
        raise ReviewError(f"'{message.study}' has no standing approval here: nothing of it runs")
    if message.proposal_sha256 != approval.params_sha256:
        raise ReviewError(
            f"'{submission.job}' refers to another proposal than the approved one: settings, "
            "phases or cost differ. Propose them as a new study."
        )
    if not (home.requests / message.study).is_dir():
        # Not the sender's doing, and not for its eyes: which other studies are here.
        raise damaged(home.requests / message.study, "it is missing", _MEND)
    request = _read_request(home, Decisions(ledger), message.study)
    if (request.code_sha256, request.proposal.sha256) != (
        approval.code_sha256,
        approval.params_sha256,
    ):
        raise ReviewError(
            f"the files of '{message.study}' on this machine are not the ones that were approved: "
            "they were changed here. Nothing of it runs."
        )
    return request
