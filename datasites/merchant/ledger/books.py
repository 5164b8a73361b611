"""What the ledger's entries add up to: requests, approvals, runs, and the budget they used.

Costs are added up as tallies of events, and become an epsilon only where they are compared with
the budget or told to people: epsilons of parts do not add up. Every run that was reserved counts
as spent, whether it was committed, failed or cut off. An approval that may still run holds back
the cost of the events that it has not yet used.

Where the budget is for a period, spending counts in the period in which it was reserved, and what
approvals hold back counts in every period that they still stand in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from datasites.errors import LedgerError, ReviewError
from datasites.merchant.ledger.facts import Approval, Cost, Request, Reservation
from datasites.merchant.ledger.records import GENESIS, Entry, timestamp
from datasites.merchant.ledger.sighting import Mark, Sighting, beyond, tally_from_dict
from datasites.merchant.ledger.take import TOLERANCE, take
from datasites.merchant.ledger.terms import Terms
from recsys.errors import PrivacyError
from recsys.privacy.accounting import epsilon_of, mu_of
from recsys.privacy.events import Budget, event_from_dict
from recsys.privacy.spending import Tally, mu_left

__all__ = [
    "EARLIER",
    "FORMAT",
    "FORMAT_EARLIER",
    "FORMAT_PERIODS",
    "KINDS",
    "LOST",
    "PEER_APPROVED",
    "PEER_REVOKED",
    "Books",
    "format_of",
    "total",
]

FORMAT, FORMAT_PERIODS, FORMAT_EARLIER = 1, 2, 3
"""Of ledgers without and with periods, and with costs of earlier datasites: a release that does
not know of these must not read them."""

LOST = "(lost entries)"
"""Where costs are shown whose entries a restore lost; no study can have this name."""

EARLIER = "(earlier datasites)"
"""Where costs are shown that the same shoppers had at datasites before this one."""

_MARKS = 62
_MOST_KINDS = 2000
"""Kinds of steps in all marks together: some 150 KB of a witness."""

PEER_APPROVED, PEER_REVOKED = "peer-approved", "peer-revoked"
"""Notes by which the merchant decides whom it hears."""

KINDS = frozenset(
    (
        "created",
        "requested",
        "approved",
        "rejected",
        "revoked",
        "reserved",
        "committed",
        "failed",
        "renewed",
        "restored",
    )
)


class Books:
    """The state after the entries so far; `apply` moves it on by one verified entry."""

    terms: Terms

    def __init__(self) -> None:
        self.seq = 0
        self.hash = GENESIS
        self.hash_before = GENESIS
        self.at = ""
        self.requests: dict[str, Request] = {}
        self.approvals: dict[str, Approval] = {}
        self.owners: dict[str, str] = {}
        self.runs: dict[str, Reservation] = {}
        self.phases: set[tuple[str, str]] = set()
        self.by_study: dict[str, Tally] = {}
        self.revoked: set[str] = set()
        self.peers: dict[str, str] = {}
        self.spent = Tally()  # in this period
        self.ever = Tally()
        self.period = 1
        self.began = ""
        self.restores = 0
        self.lost = Tally()  # of accepted restores
        self.marks: tuple[Mark, ...] = ()
        # What had been spent, and lost, right after each accepted restore.
        self.after: dict[int, tuple[Tally, Tally]] = {}

    def apply(self, entry: Entry) -> None:
        """Take `entry` into account.

        Raises: LedgerError for an entry that this release does not know or that contradicts the
        entries before it.
        """
        try:
            self._apply(entry)
        except (KeyError, TypeError, ValueError, PrivacyError, ReviewError) as error:
            raise LedgerError(
                f"Entry {entry.seq} of the ledger ({entry.kind[:40]}) does not follow from those "
                "before it. Was it written by a newer ToyFed? Then install that one."
            ) from error
        self.hash_before, self.hash = self.hash, entry.hash
        self.seq, self.at = entry.seq, entry.at
        if not entry.note and entry.kind in ("created", "reserved", "restored"):
            # The first stays: whatever was put back, it is common to both.
            mark = (entry.seq, entry.hash, self.ever)
            self.marks = (*self.marks[:1], *self.marks[1:][-_MARKS:], mark)

    @property
    def budget(self) -> Budget:
        """The most that the releases of one period may cost."""
        return self.terms.budget

    @property
    def ends(self) -> str | None:
        """When the period may be renewed at the earliest."""
        return self.terms.ends(self.began)

    @property
    def sighting(self) -> Sighting:
        """What to remember of this ledger elsewhere."""
        first, later = self.marks[:1], self.marks[1:]
        # Each mark holds every kind of step so far: of many kinds, fewer marks, the latest.
        kinds = max(1, len(self.ever.steps))
        later = later[-max(1, _MOST_KINDS // kinds) :]
        marks = (*first, *later)
        return Sighting(self.seq, self.hash, self.period, self.restores, self.ever, marks)

    def known_after(self, restores: int) -> Tally:
        """What counts for something seen before restores that were accepted since.

        That is what was spent by the first of them, with all that was booked as lost until now;
        what was spent after it has nothing to do with what was seen.
        """
        ever, lost = self.after[min(one for one in self.after if one > restores)]
        return ever + beyond(lost, [self.lost])

    def promised(self, now: datetime, but: Approval | None = None) -> Tally:
        """What standing approvals may still take, `but` one of them."""
        return total(
            Tally.of(approval.unused)
            for approval in self.approvals.values()
            if approval is not but
            and not self.expired(approval, now)
            and approval.used < approval.rounds
        )

    def fits(self, tally: Tally) -> bool:
        """Whether `tally` has room beside all that is spent, in this period and ever."""
        lifetime = self.terms.lifetime
        return _within(self.budget, self.spent + tally) and (
            lifetime is None or _within(lifetime, self.ever + tally)
        )

    def cost_of(self, tally: Tally) -> Cost:
        """`tally` as it is told to people."""
        delta = self.budget.delta
        return Cost(tally.mu(delta), tally.epsilon(delta))

    def room_beside(self, tally: Tally) -> Cost:
        """The largest Gaussian release that still fits beside `tally` and all that is spent."""
        mu = mu_left(self.budget, self.spent + tally)
        if self.terms.lifetime is not None:
            mu = min(mu, mu_left(self.terms.lifetime, self.ever + tally))
        return Cost(mu, epsilon_of(mu, self.budget.delta))

    def expired(self, approval: Approval, now: datetime) -> bool:
        """Whether the time of `approval` is over; a clock that is set back does not revive it."""
        return timestamp(now) >= approval.expires

    def _apply(self, entry: Entry) -> None:
        # What an entry has seen expire stays expired, however the clock is set later.
        for study in [s for s, a in self.approvals.items() if entry.at >= a.expires]:
            del self.approvals[study]
        if (entry.seq == 1) != (entry.kind == "created"):
            raise ValueError("the ledger starts with its creation, once")
        if entry.note:
            self._noted(entry)
            return
        if entry.kind not in KINDS:
            raise ValueError("unknown kind")
        getattr(self, f"_{entry.kind}")(entry)

    def _noted(self, entry: Entry) -> None:
        """Notes book nothing, but whom the merchant hears is decided by the last one about them."""
        email = str(entry.body.get("email", ""))
        if entry.kind == PEER_APPROVED:
            self.peers[email] = str(entry.body.get("fingerprint", ""))
        elif entry.kind == PEER_REVOKED:
            self.peers[email] = ""

    def _created(self, entry: Entry) -> None:
        body = entry.body
        if body["format"] != format_of(body):
            raise ValueError("unknown format")
        self.terms = Terms.from_dict(body)
        self.began = entry.at
        for earlier in body.get("earlier", []):
            self._spend(EARLIER, tally_from_dict(earlier["spent"]))

    def _renewed(self, entry: Entry) -> None:
        if self.ends is None or entry.at < self.ends or entry.body["period"] != self.period + 1:
            raise ValueError("renewed out of turn")
        self.period, self.began, self.spent = self.period + 1, entry.at, Tally()

    def _restored(self, entry: Entry) -> None:
        body = entry.body
        if body["restores"] <= self.restores or body["period"] < self.period:
            raise ValueError("restored to before")
        lost = tally_from_dict(body["lost"])
        self._spend(LOST, lost)
        self.lost += lost
        self.restores, self.period = body["restores"], body["period"]
        self.after[self.restores] = self.ever, self.lost
        self.began = max(self.began, entry.at)
        # The lost entries may have taken back any approval and any peer.
        for run in list(self.runs.values()):
            if run.state == "reserved":
                self.runs[run.job] = replace(run, state="failed")
        self.revoked |= self.approvals.keys()
        self.approvals.clear()
        self.peers = dict.fromkeys(self.peers, "")

    def _spend(self, study: str, tally: Tally) -> None:
        self.by_study[study] = self.by_study.get(study, Tally()) + tally
        self.spent, self.ever = self.spent + tally, self.ever + tally

    def _requested(self, entry: Entry) -> None:
        body = entry.body
        self.requests[body["request_id"]] = Request(
            body["request_id"],
            entry.study,
            body["sender"],
            body["code_sha256"],
            body["params_sha256"],
            entry.at,
        )

    def _approved(self, entry: Entry) -> None:
        body = entry.body
        request = self.requests[body["request_id"]]
        events = tuple(event_from_dict(event) for event in body["events"])
        self.requests[request.request_id] = replace(request, state="approved")
        self.owners[entry.study] = request.sender
        self.revoked.discard(entry.study)
        self.approvals[entry.study] = Approval(
            request.request_id,
            *request.binding,
            events=events,
            rounds=body["rounds"],
            phases=None if body["phases"] is None else tuple(body["phases"]),
            expires=body["expires"],
            by=body["by"],
            at=entry.at,
            used=0,
            unused=events,
        )

    def _rejected(self, entry: Entry) -> None:
        request = self.requests[entry.body["request_id"]]
        self.requests[request.request_id] = replace(request, state="rejected")

    def _revoked(self, entry: Entry) -> None:
        self.approvals.pop(entry.study, None)
        self.revoked.add(entry.study)
        for run in list(self.runs.values()):
            if run.study == entry.study and run.state == "reserved":
                self.runs[run.job] = replace(run, state="failed")

    def _reserved(self, entry: Entry) -> None:
        body = entry.body
        approval = self.approvals[entry.study]
        events = tuple(event_from_dict(event) for event in body["events"])
        self.approvals[entry.study] = replace(
            approval, used=approval.used + 1, unused=take(approval.unused, events)
        )
        self.runs[body["job"]] = Reservation(
            body["job"], entry.study, body["phase"], events, approval.request_id, entry.at
        )
        self.phases.add((entry.study, body["phase"]))
        self._spend(entry.study, Tally.of(events))

    def _committed(self, entry: Entry) -> None:
        self._end(entry, "committed")

    def _failed(self, entry: Entry) -> None:
        self._end(entry, "failed")

    def _end(self, entry: Entry, state: Literal["committed", "failed"]) -> None:
        run = self.runs[entry.body["job"]]
        if run.state != "reserved":
            raise ValueError("ended twice")
        self.runs[run.job] = replace(run, state=state)


def format_of(created: Mapping[str, Any]) -> int:
    """The format of a ledger whose first entry says this."""
    if "earlier" in created:
        return FORMAT_EARLIER
    return FORMAT_PERIODS if "period_days" in created else FORMAT


def _within(budget: Budget, tally: Tally) -> bool:
    if tally.gaussian:
        return tally.square <= mu_of(budget.epsilon, budget.delta) ** 2 * (1 + TOLERANCE)
    return tally.epsilon(budget.delta) <= budget.epsilon * (1 + TOLERANCE)


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    return sum(tallies, Tally())
