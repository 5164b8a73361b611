"""What may be booked next: each rule looks at the books and gives the entry's body, or refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from datasites.errors import BudgetError, ReviewError
from datasites.merchant.ledger.books import KINDS, Books
from datasites.merchant.ledger.facts import Approval, Request
from datasites.merchant.ledger.records import check_name, check_sha256, plain, timestamp
from datasites.merchant.ledger.sighting import Sighting, beyond, tally_to_dict
from datasites.merchant.ledger.take import take
from datasites.merchant.ledger.terms import check_today
from recsys.privacy.events import PrivacyEvent
from recsys.privacy.spending import Tally

__all__ = [
    "active",
    "approve",
    "commit",
    "fail",
    "note",
    "reject",
    "renew",
    "request",
    "reserve",
    "restore",
    "revoke",
]

_BODY_LIMIT = 64 * 1024
_TEXT_LIMIT = 2000


def request(
    books: Books, request_id: str, binding: tuple[str, str, str, str], summary: Mapping[str, Any]
) -> dict[str, Any] | None:
    """A request's body; None if this very request is booked already."""
    known = books.requests.get(check_name("a request id", request_id))
    if known is not None:
        if known.binding != binding:
            raise ReviewError(
                f"Request '{request_id}' arrived before with another study, sender, code or "
                "parameters. Submit what changed under a new request id."
            )
        return None
    return {
        "request_id": request_id,
        **_binding(*binding),
        "summary": plain("a request's summary", summary, _BODY_LIMIT),
    }


def approve(
    books: Books,
    now: datetime,
    request_id: str,
    binding: tuple[str, str, str, str],
    events: Sequence[PrivacyEvent],
    rounds: int,
    phases: Sequence[str] | None,
    expires: datetime,
    by: str,
) -> dict[str, Any]:
    """An approval's body, if the whole of it fits the budget."""
    known = _waiting(books, request_id)
    study, sender, _, _ = binding
    if known.binding != binding:
        raise ReviewError(
            f"Request '{request_id}' is not what is being approved: its study, sender, code or "
            "parameters differ. Look at the request again."
        )
    if active(books, now, study) is not None:
        raise ReviewError(f"Study '{study}' has an active approval: revoke that one first.")
    if books.owners.get(study, sender) != sender:
        raise ReviewError(
            f"Study '{study}' was approved for another sender. Ask for another study name."
        )
    if rounds < 1 or (phases is not None and len(set(phases)) < rounds):
        raise ReviewError(f"Expected 1 round or more and a phase for each, got {rounds} rounds.")
    if expires.tzinfo is None or expires <= now:
        raise ReviewError("Expected an expiry in the future, with its time zone.")
    check_budget(books, now, events)
    return {
        "request_id": request_id,
        **_binding(*binding),
        "events": [event.to_dict() for event in events],
        "rounds": int(rounds),
        "phases": None if phases is None else [check_name("a phase", name) for name in phases],
        "expires": timestamp(expires),
        "by": check_name("the name of who approves", by),
    }


def reject(books: Books, request_id: str, reason: str, by: str) -> tuple[str, dict[str, Any]]:
    """The study and body of a rejection."""
    known = _waiting(books, request_id)
    who = check_name("the name of who rejects", by)
    return known.study, {"request_id": request_id, "reason": str(reason)[:_TEXT_LIMIT], "by": who}


def revoke(books: Books, now: datetime, study: str, by: str) -> dict[str, Any]:
    """A revocation's body."""
    running = any(run.study == study and run.state == "reserved" for run in books.runs.values())
    if active(books, now, study) is None and not running:
        raise ReviewError(f"Study '{study}' has no active approval and no run under way.")
    return {"by": check_name("the name of who revokes", by)}


def reserve(
    books: Books,
    now: datetime,
    study: str,
    job: str,
    phase: str,
    events: Sequence[PrivacyEvent],
    code_sha256: str | None,
    params_sha256: str | None,
) -> dict[str, Any]:
    """A reservation's body, if approval and budget cover it and it was never run before."""
    if check_name("a job name", job) in books.runs:
        raise ReviewError(f"Job '{job}' was run before: a job name is good for one run.")
    if (study, check_name("a phase", phase)) in books.phases:
        raise ReviewError(f"Phase '{phase}' of study '{study}' was run before: each runs once.")
    approval = active(books, now, study)
    if approval is None:
        raise ReviewError(
            f"Study '{study}' has no active approval: it was never given, was revoked, or expired."
        )
    _heard(books, approval.sender)
    if code_sha256 not in (None, approval.code_sha256):
        raise ReviewError(f"The code of job '{job}' is not the code that was approved.")
    if params_sha256 not in (None, approval.params_sha256):
        raise ReviewError(f"The parameters of job '{job}' are not those that were approved.")
    if approval.phases is not None and phase not in approval.phases:
        raise ReviewError(
            f"Phase '{phase}' is not one of those approved: {', '.join(approval.phases)[:200]}."
        )
    if approval.used >= approval.rounds:
        raise ReviewError(f"All {approval.rounds} runs approved for study '{study}' are used.")
    if not events:
        raise ReviewError(f"Job '{job}' declares no release: expected one privacy event or more.")
    take(approval.unused, events)
    # What is reserved moves from promised to spent, so only a broken invariant fails here.
    check_budget(books, now, events, held=approval)
    return {
        "job": job,
        "phase": phase,
        "request_id": approval.request_id,
        "events": [event.to_dict() for event in events],
    }


def commit(books: Books, job: str, released: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The study and body of a commit."""
    study = _open(books, job)
    _heard(books, books.requests[books.runs[job].request_id].sender)
    facts = plain("the facts of a release", released, _BODY_LIMIT)
    arrays = facts.get("arrays")
    if (
        set(facts) != {"arrays", "sha256", "bytes"}
        or not isinstance(arrays, dict)
        or not all(
            isinstance(shape, list) and all(type(size) is int for size in shape)
            for shape in arrays.values()
        )
        or type(facts["bytes"]) is not int
    ):
        raise ReviewError(
            'Expected the facts of a release as {"arrays": {name: shape}, "sha256": .., '
            '"bytes": ..} and nothing else.'
        )
    check_sha256("the sha256 of a release", facts["sha256"])
    return study, {"job": job, "released": facts}


def fail(books: Books, job: str, reason: str) -> tuple[str, dict[str, Any]]:
    """The study and body of a failure."""
    return _open(books, job), {"job": job, "reason": str(reason)[:_TEXT_LIMIT]}


def renew(books: Books, now: datetime, today: date, by: str) -> dict[str, Any]:
    """A renewal's body, if the period is over by the clock and by the person who asks."""
    if books.ends is None:
        raise ReviewError(
            "This budget is for good: there is no period to renew. Periods are chosen when a "
            "datasite is made."
        )
    check_today(today, now)
    if timestamp(now) < books.ends:
        raise ReviewError(
            f"Period {books.period} lasts until {books.ends[:10]}, today is {now:%Y-%m-%d}: it is "
            "renewed after that day, and what is unused is not carried over."
        )
    return {
        "by": check_name("the name of who renews", by),
        "period": books.period + 1,
        "today": today.isoformat(),
    }


def restore(
    books: Books, seen: Sequence[Sighting], known: Sequence[Tally], by: str
) -> dict[str, Any]:
    """The body by which a restore is accepted, with all that the lost entries had cost.

    Args:
        known: of each sighting, what of its cost is in the books.
    """
    if not seen:
        raise ReviewError(
            "Nothing shows that entries are missing: there is no restore to accept. If a witness "
            "cannot be reached now, bring it back first."
        )
    return {
        "by": check_name("the name of who accepts", by),
        "lost": tally_to_dict(
            beyond(Tally(), [beyond(had, [one.ever]) for one, had in zip(seen, known, strict=True)])
        ),
        "known": max(one.seq for one in seen),
        "period": max(books.period, *(one.period for one in seen)),
        "restores": 1 + max(books.restores, *(one.restores for one in seen)),
    }


def note(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A note's body; its kind must not look like a booking."""
    if check_name("a note's kind", kind) in KINDS:
        raise ReviewError(f"'{kind}' is a booking of the ledger's own: name the note otherwise.")
    return plain("a note", body, _BODY_LIMIT, text_limit=_TEXT_LIMIT)


def active(books: Books, now: datetime, study: str) -> Approval | None:
    """The study's approval, unless it was revoked or its time is over."""
    approval = books.approvals.get(study)
    return None if approval is None or books.expired(approval, now) else approval


def check_budget(
    books: Books, now: datetime, events: Sequence[PrivacyEvent], held: Approval | None = None
) -> None:
    """Raise BudgetError if `events` exceed what is left beside all that is spent and promised.

    `held` is the approval that already holds back their cost.
    """
    wanted, promised = Tally.of(events), books.promised(now, but=held)
    if not books.fits(promised + wanted):
        used, others = books.cost_of(books.spent), books.cost_of(promised)
        ever = ""
        if books.terms.lifetime is not None:
            ever = (
                f" All periods together have cost {books.cost_of(books.ever).epsilon:.4g} of at "
                f"most {books.terms.lifetime.epsilon:g}."
            )
        when = "" if books.ends is None else f" of this period (until {books.ends[:10]})"
        raise BudgetError(
            f"This would cost epsilon {books.cost_of(wanted).epsilon:.4g}. The budget{when} is "
            f"epsilon {books.budget.epsilon:g} at delta {books.budget.delta:g}; spent is "
            f"{used.epsilon:.4g}, promised to other approvals {others.epsilon:.4g} (epsilons of "
            f"parts do not add up).{ever} Ask for fewer rounds or more noise, or revoke an "
            "approval."
        )


def _binding(study: str, sender: str, code_sha256: str, params_sha256: str) -> dict[str, str]:
    check_name("a study name", study)
    return {
        "sender": check_name("a sender", sender),
        "code_sha256": check_sha256("the code's sha256", code_sha256),
        "params_sha256": check_sha256("the parameters' sha256", params_sha256),
    }


def _waiting(books: Books, request_id: str) -> Request:
    known = books.requests.get(request_id)
    if known is None:
        raise ReviewError("There is no request of this id. List the requests to see those waiting.")
    if known.state != "waiting":
        raise ReviewError(
            f"Study '{known.study}' was {known.state} before: a decision is made once. "
            + (
                "Nothing more is to be done; revoke it to take that back."
                if known.state == "approved"
                else "Ask its sender for a study of another name."
            )
        )
    return known


def _heard(books: Books, sender: str) -> None:
    """Raise ReviewError if the merchant revoked this peer; the turn makes that one step."""
    if books.peers.get(sender) == "":
        raise ReviewError(f"The peer {sender[:120]} was revoked: nothing of it runs or leaves.")


def _open(books: Books, job: str) -> str:
    run = books.runs.get(job)
    if run is None:
        raise ReviewError("There is no run of this job name: reserve its cost before it starts.")
    if run.state != "reserved":
        raise ReviewError(f"Job '{job}' is {run.state} already (a revoked study's runs fail).")
    return run.study
