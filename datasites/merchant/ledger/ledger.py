"""The ledger: one merchant's approvals and releases, and a budget that cannot be overdrawn.

Privacy: one unit is one shopper's whole history at this merchant, neighbours differ by adding or
removing one shopper. Releases add up as their privacy losses do (`recsys.privacy.Tally`). A cost is
booked before the code runs, and never given back. The ledger holds names, hashes, shapes and costs,
nothing that was computed from purchases; it stays at the merchant. Its hash chain shows accidents,
restored backups and edited rows; someone who may write all its files could still forge it as a
whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from datasites.merchant.ledger import rules
from datasites.merchant.ledger.books import Books
from datasites.merchant.ledger.export import export_text
from datasites.merchant.ledger.facts import Approval, Cost, Request, Reservation
from datasites.merchant.ledger.journal import Clock, Journal, utc_now
from datasites.merchant.ledger.records import Entry, check_name
from datasites.merchant.ledger.sighting import Sighting, tally_from_dict
from datasites.merchant.ledger.terms import Terms
from recsys.files import atomic_write_text
from recsys.privacy.events import Budget, PrivacyEvent
from recsys.privacy.spending import Tally

__all__ = ["Ledger", "Period"]


class Period(NamedTuple):
    """A period of the budget: its number, when it began, when it may be renewed at the earliest.

    `ends` and `days` are None where the budget is for good.
    """

    number: int
    began: str
    ends: str | None
    days: int | None
    lifetime_epsilon: float | None


class Ledger:
    """One merchant's ledger; safe for several threads and processes at once.

    Make it once with `create`, then use `open`. Between operations no file is held open, so that
    leaving a `with` block only ends its use.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @classmethod
    def create(
        cls,
        path: Path | str,
        budget: Budget,
        *,
        period_days: int | None = None,
        lifetime_epsilon: float | None = None,
        earlier: Sequence[Books] = (),
        clock: Clock = utc_now,
    ) -> Ledger:
        """A new ledger at `path` (its `.head` and `.lock` beside it) with the whole `budget`.

        Args:
            period_days: make the budget one of a period, renewed by `renew`; None is for good.
            lifetime_epsilon: the most that all periods together may cost, at the budget's delta.
            earlier: of exports (`verify_export`) of datasites that had some of these shoppers; all
                that they cost counts as spent here, from the first entry on.

        Raises: LedgerError if there is one, or the remains of one; ReviewError for odd terms.
        """
        Journal(Path(path), clock).create(Terms(budget, period_days, lifetime_epsilon), earlier)
        return cls.open(path, clock=clock)

    @classmethod
    def open(cls, path: Path | str, *, clock: Clock = utc_now) -> Ledger:
        """The ledger at `path`, verified from its first entry to its head.

        Raises: LedgerError if it is missing, changed, cut, or older than its head file says.
        """
        journal = Journal(Path(path), clock)
        journal.open()
        return cls(journal)

    @classmethod
    def rebuild_head(cls, path: Path | str, by: str, *, clock: Clock = utc_now) -> Ledger:
        """Make a new head file for a ledger whose own is lost or older, and note who did.

        Raises: LedgerError if the rows do not verify, or if the head file knows other entries.
        """
        check_name("the name of who rebuilds the head", by)
        head_was_at = Journal(Path(path), clock).rebuild_head()
        ledger = cls.open(path, clock=clock)
        ledger.note("head rebuilt", {"by": by, "head_was_at": head_was_at})
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def budget(self) -> Budget:
        """The most that all releases of one period together may cost; of all time without one."""
        with self._journal.reading() as books:
            return books.budget

    def request(
        self,
        request_id: str,
        study: str,
        sender: str,
        code_sha256: str,
        params_sha256: str,
        summary: Mapping[str, Any],
    ) -> Request:
        """Book that a code request arrived; the same request again changes nothing.

        Raises: ReviewError if the id was used for anything else.
        """
        binding = (study, sender, code_sha256, params_sha256)
        with self._journal.writing() as turn:
            body = rules.request(turn.books, request_id, binding, summary)
            if body is not None:
                turn.book("requested", study, body)
            return turn.books.requests[request_id]

    def approve(
        self,
        request_id: str,
        *,
        study: str,
        sender: str,
        code_sha256: str,
        params_sha256: str,
        events: Sequence[PrivacyEvent],
        rounds: int,
        expires: datetime,
        by: str,
        phases: Sequence[str] | None = None,
    ) -> Approval:
        """Permit `rounds` runs (one per phase) that together release `events`, until `expires`.

        Args:
            events: every release of every run, each as often as it will be made.
            phases: the names that runs may have; None leaves them free.

        Raises:
            ReviewError: no such request, decided already, or not what was requested.
            BudgetError: with all that is spent and promised it would exceed the budget.
        """
        binding = (study, sender, code_sha256, params_sha256)
        with self._journal.writing() as turn:
            body = rules.approve(
                turn.books, turn.now, request_id, binding, events, rounds, phases, expires, by
            )
            turn.book("approved", study, body)
            return turn.books.approvals[study]

    def reject(self, request_id: str, reason: str, by: str) -> None:
        """Turn a waiting request down.

        Raises: ReviewError if there is none, or it is decided.
        """
        with self._journal.writing() as turn:
            study, body = rules.reject(turn.books, request_id, reason, by)
            turn.book("rejected", study, body)

    def revoke(self, study: str, by: str) -> None:
        """End a study's approval; runs under way count as failed and may not be released.

        Raises: ReviewError if the study has neither an active approval nor a run under way.
        """
        with self._journal.writing() as turn:
            turn.book("revoked", study, rules.revoke(turn.books, turn.now, study, by))

    def approval(self, study: str) -> Approval | None:
        """The study's approval if it is neither revoked nor expired."""
        with self._journal.reading() as books:
            return rules.active(books, self._journal.clock(), study)

    def is_revoked(self, study: str) -> bool:
        """Whether the study's last approval was taken back (an expired one was not)."""
        with self._journal.reading() as books:
            return study in books.revoked

    def peers(self) -> dict[str, str]:
        """Last decision per peer: the fingerprint that was approved, or "" when revoked."""
        with self._journal.reading() as books:
            return dict(books.peers)

    def requests(self) -> list[Request]:
        """Every request in the order of arrival."""
        with self._journal.reading() as books:
            return list(books.requests.values())

    def reserve(
        self,
        study: str,
        job: str,
        phase: str,
        events: Sequence[PrivacyEvent],
        *,
        code_sha256: str | None = None,
        params_sha256: str | None = None,
    ) -> Reservation:
        """Book the cost of one run before it starts; from here on it is spent.

        `code_sha256` and `params_sha256`, where given, must be those of the approval.

        Raises:
            ReviewError: not approved, expired, replayed, or beyond what was approved.
            BudgetError: the budget would be exceeded.
        """
        with self._journal.writing() as turn:
            body = rules.reserve(
                turn.books, turn.now, study, job, phase, events, code_sha256, params_sha256
            )
            turn.book("reserved", study, body)
            return turn.books.runs[job]

    def commit(self, job: str, released: Mapping[str, Any]) -> None:
        """Book what a run releases, before it leaves.

        Args:
            released: `{"arrays": {name: shape}, "sha256": of the bytes, "bytes": how many}`.

        Raises: ReviewError if the run is not open, or was revoked meanwhile.
        """
        with self._journal.writing() as turn:
            study, body = rules.commit(turn.books, job, released)
            turn.book("committed", study, body)

    def fail(self, job: str, reason: str) -> None:
        """Book that a run ended without a release; its cost stays spent.

        Raises: ReviewError if the run is not open.
        """
        with self._journal.writing() as turn:
            study, body = rules.fail(turn.books, job, reason)
            turn.book("failed", study, body)

    def note(self, kind: str, body: Mapping[str, Any], study: str = "") -> None:
        """Tell the merchant what happened (a refusal, a quarantined message, a new peer).

        Long texts are cut. Never put a shopper's value or a program's own output in it.
        """
        with self._journal.writing() as turn:
            turn.book(kind, study, rules.note(kind, body), note=True)

    def renew(self, today: date, by: str) -> None:
        """Begin the next period, once this one is over; see `terms` for why a person does it.

        Args:
            today: the day as the person knows it, which the clock must agree with.

        Privacy: each period may cost the whole budget anew; `spent_ever` is what they cost a
        shopper together.
        Raises: ReviewError if there are no periods, or this one is not over.
        """
        with self._journal.writing() as turn:
            turn.book("renewed", "", rules.renew(turn.books, turn.now, today, by))

    def period(self) -> Period:
        """Which period this is, and its bounds."""
        with self._journal.reading() as books:
            terms = books.terms
            return Period(
                books.period, books.began, books.ends, terms.period_days, terms.lifetime_epsilon
            )

    def sighting(self) -> Sighting:
        """What to remember of this ledger elsewhere, so that an older copy of it is noticed."""
        with self._journal.reading() as books:
            return books.sighting

    def lacks(self, seen: Sighting) -> bool:
        """Whether this is an older copy than the one that was seen, or another one."""
        return self._journal.lacks(seen)

    def accept_restore(self, seen: Sequence[Sighting], by: str) -> Cost:
        """Go on with a ledger whose later entries are lost; what they cost is booked as spent.

        All approvals are taken back and all peers revoked, as the lost entries may have done.
        Returns what was booked.

        Raises: ReviewError if none of `seen` is missing here.
        """
        lacking = [one for one in seen if self.lacks(one)]
        known = [self._journal.known_of(one) for one in lacking]
        with self._journal.writing() as turn:
            body = rules.restore(turn.books, lacking, known, by)
            turn.book("restored", "", body)
            return turn.books.cost_of(tally_from_dict(body["lost"]))

    def state_of(self, job: str) -> Literal["reserved", "committed", "failed"] | None:
        """What became of a run, None if there was none of that name."""
        run = self.reservation(job)
        return None if run is None else run.state

    def reservation(self, job: str) -> Reservation | None:
        """A run by its job name."""
        with self._journal.reading() as books:
            return books.runs.get(job)

    def runs(self) -> list[Reservation]:
        """Every run in the order in which they were reserved, whatever became of it."""
        with self._journal.reading() as books:
            return list(books.runs.values())

    def open_reservations(self) -> list[str]:
        """Job names of runs that were neither committed nor failed, oldest first."""
        with self._journal.reading() as books:
            return [run.job for run in books.runs.values() if run.state == "reserved"]

    def spent(self) -> Cost:
        """The cost of every run of this period so far (of all time where there are none)."""
        with self._journal.reading() as books:
            return books.cost_of(books.spent)

    def spent_ever(self) -> Cost:
        """The cost of every run of all periods: what a shopper has lost in all."""
        with self._journal.reading() as books:
            return books.cost_of(books.ever)

    def spent_by_study(self) -> dict[str, Cost]:
        """The cost of each study's runs so far; epsilons of studies do not add up."""
        with self._journal.reading() as books:
            return {study: books.cost_of(tally) for study, tally in books.by_study.items()}

    def promised(self) -> Cost:
        """The cost that active approvals may still take."""
        with self._journal.reading() as books:
            return books.cost_of(books.promised(self._journal.clock()))

    def held(self) -> Tally:
        """All that is spent in this period or promised, for adding up with what is asked for."""
        with self._journal.reading() as books:
            return books.spent + books.promised(self._journal.clock())

    def check_room(self, events: Sequence[PrivacyEvent]) -> None:
        """Raise BudgetError if `events` exceed what is left, in this period or ever."""
        with self._journal.reading() as books:
            rules.check_budget(books, self._journal.clock(), events)

    def remaining(self) -> Cost:
        """The budget less what is spent: the largest Gaussian release that fits beside it."""
        with self._journal.reading() as books:
            return books.room_beside(Tally())

    def available(self) -> Cost:
        """The budget less what is spent and promised: what a new approval may cost."""
        with self._journal.reading() as books:
            return books.room_beside(books.promised(self._journal.clock()))

    def entries(self) -> list[Entry]:
        """Every entry in order, verified as it is read."""
        return self._journal.entries()

    def verify(self) -> None:
        """Check every entry and the head anew.

        Raises: LedgerError.
        """
        self.entries()

    def export(self, path: Path | str) -> None:
        """Write all entries to a file that `verify_export` can check without the ledger."""
        atomic_write_text(Path(path), export_text(self.entries()), 0o600)
