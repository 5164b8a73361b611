"""The merchant's long-running process: sync, review queue, rounds, results.

One pass of the loop (`Service.step`) is a transaction per job that a crash cannot confuse:

    proposal   file it for review           -> answer once it is approved or rejected
    round      check approval, RESERVE cost -> run in sandbox -> gate -> keep release
               -> (a program's is held back) -> COMMIT -> reply
                                            (a restart redelivers, or declares the run lost)
    result     verify, store                -> fit the merchant's own blend -> reply

A run that was cut off is never run again and its budget is never given back: what it might have
computed is unknown, so it counts as spent.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from datasites.errors import (
    DatasiteError,
    LedgerError,
    ReviewError,
    SandboxError,
    StateGoneError,
)
from datasites.merchant import apart, code, desk, fit, housekeeping, leftovers, peers, runs
from datasites.merchant.bulletin import Bulletin
from datasites.merchant.contributions.apart import check_loads, is_program
from datasites.merchant.forget import finish_in_own_process, forgotten_stamp
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.merchant.retries import Retries
from datasites.merchant.stale import purchases_stamp
from datasites.merchant.trouble import in_words
from datasites.merchant.witness import Witnesses
from datasites.protocol import Phase, Proposal, Result, Round, parse_message
from datasites.recipes.states import state_arrays
from recsys.errors import ArtifactError
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    from datasites.syftbox import MerchantLink, Submission

__all__ = ["Service"]

log = structlog.get_logger()

_FIT_TRIES = 3
_REFIT_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
_HELD = "held"  # of a run: kept, and not to be told yet
# A slow share may show a job long before what it starts from; nobody waits longer than a round.
_GONE_SECONDS = 600.0


class Service:
    """One merchant's service. `step` does everything that is due and returns."""

    def __init__(
        self,
        home: MerchantHome,
        link: MerchantLink,
        ledger: Ledger,
        witnesses: Witnesses | None = None,
    ) -> None:
        self.home = home
        self.link = link
        self.ledger = ledger
        self.witnesses = witnesses or Witnesses(home, ledger)
        self._bulletin = Bulletin(ledger)
        self._retries = Retries()
        self._refit_from, self._refit_pause, self._closed = 0.0, _REFIT_PAUSE, ""
        self._stopping: Callable[[], bool] = lambda: False
        self._cut_short = False
        self._forgotten: object = None  # nobody was looked for yet
        # Called now and then while an answer is held back: whoever watches sees that we live.
        self.alive: Callable[[], None] = lambda: None
        self._in_review: set[str] = set()
        self._waiting_for: dict[str, str] = {}
        self._fits: dict[str, int] = {}
        self._served: dict[str, str] = {}
        # Decisions are booked by other processes; the link asks before it takes or sends anything.
        link.hears = self._hears

    def _hears(self, peer: str) -> bool:
        """Whether a peer is not revoked, by the newest decision in the ledger."""
        return not peers.is_revoked(self.ledger, peer)

    def recover(self) -> None:
        """Declare runs that a crash cut off as lost, before anything else happens.

        A run whose release had passed the gate and was kept is complete: it is committed and
        will be delivered. Anything less stays spent and is never run again.

        Raises LedgerError if a witness shows that the ledger is an older copy.
        """
        self.witnesses.check()
        for job in self.ledger.open_reservations():
            if runs.has_release(self.home, job):
                self._commit(job, runs.release_facts(self.home, job))
            else:
                # Also where what was kept is damaged by now: it is then not what was checked.
                self.ledger.fail(job, "interrupted: the service stopped during this run")
                log.warning("run was interrupted", job=job)
        leftovers.sweep(self.home)

    def _commit(self, job: str, released: dict[str, Any]) -> bool:
        """Book what may leave; False if study or peer were revoked, and then nothing leaves."""
        try:
            self.ledger.commit(job, released)
        except ReviewError as error:
            if self.ledger.state_of(job) == "reserved":
                self.ledger.fail(job, str(error))
            log.warning("not released", job=job, reason=str(error))
            return False
        return True

    def step(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Sync once and handle every waiting job; returns how many were answered.

        When `stopping` says so, the job under way is finished and no other is begun; an answer
        that is held back is kept, and given when the service runs again.
        """
        self._stopping = stopping
        report = self.link.sync()
        peers.carry_out(self.home, self.ledger, self.link)
        self._show_mock()
        self._refit()
        for sender, reason in report.quarantined:
            self._bulletin.tell("quarantine", sender, reason)
        answered = 0
        undecided = self._undecided()
        submissions = self.link.submissions()
        jobs = {submission.job for submission in submissions}
        self._retries.keep_only(jobs)
        self._waiting_for = {job: why for job, why in self._waiting_for.items() if job in jobs}
        for submission in submissions:
            if stopping():
                break
            if submission.job not in undecided and self._retries.is_due(submission.job):
                self._waiting_for.pop(submission.job, None)
                try:
                    answered += self._handle(submission)
                except ReviewError as error:
                    # An answer that cannot be given is one job's matter, not everybody's.
                    self._retries.failed(submission.job)
                    log.warning("not answered", job=submission.job, reason=str(error))
        if self._cut_short:
            # What is held back would be told by whatever changes on the share now; all that waits
            # to be sent is kept.
            return answered
        if answered:
            self.link.sync()
            housekeeping.tidy_runs(self.home, self.ledger, self.link.is_settled)
        # Also what is decided here must not be forgotten with a restore, such as a revoked peer.
        self.witnesses.keep_if_moved()
        return answered

    @property
    def trouble(self) -> str:
        """What keeps a job waiting that the merchant could mend, in words; empty if nothing."""
        return next(iter(self._waiting_for.values()), self._closed)

    def _undecided(self) -> set[str]:
        """Proposals that still wait for the merchant: reading them on each pass changes nothing."""
        if not self._in_review:
            return set()
        waiting = {one.request_id for one in self.ledger.requests() if one.state == "waiting"}
        self._in_review &= waiting
        return self._in_review

    def _show_mock(self) -> None:
        """Publish the mock once there is a catalogue; peers never see more than this."""
        done = self.home.private / "mock-published"
        if not done.exists() and desk.has_data(self.home):
            purchases = purchases_stamp(self.home)
            files, digest = apart.make_mock(self.home)
            if purchases_stamp(self.home) != purchases:
                return  # perhaps over another catalogue; the next pass makes it
            self.link.publish_mock(
                "mock-shop",
                "Invented purchases over the public catalogue, in the schema of the real ones.",
                files,
            )
            atomic_write_text(done, digest)

    def _refit(self) -> None:
        """Fit again after purchases were taken away, so that the shop opens; costs nothing."""
        if time.monotonic() < self._refit_from:
            return
        try:
            if fit.refit(self.home, wait=False):
                log.info("lists were made anew")
            self._closed, self._refit_pause = "", _REFIT_PAUSE
        except (DatasiteError, OSError) as error:
            # A fit takes minutes, in which nobody's job is answered.
            self._refit_from = time.monotonic() + self._refit_pause
            self._refit_pause = min(2 * self._refit_pause, _LONGEST_PAUSE)
            self._closed = f"the shop is closed: its lists cannot be made anew ({in_words(error)})"
            log.warning("lists could not be made anew", reason=in_words(error))

    def _answer(
        self, submission: Submission, status: str, message: str, files: dict[str, bytes]
    ) -> bool:
        """Reply, unless the sender was revoked meanwhile: then its jobs are dropped unanswered."""
        if self._hears(submission.sender):
            if files:
                # A restore can then never forget the cost of what left.
                self.witnesses.keep()
            self.link.reply(submission.job, status, message, files)
            return True
        return False

    def _handle(self, submission: Submission) -> bool:
        if not self._hears(submission.sender):
            return False
        try:
            message = parse_message(submission.params)
            if isinstance(message, Proposal):
                return self._proposal(submission, message)
            if isinstance(message, Round):
                return self._round(submission, message)
            return self._result(submission, message)
        except (ReviewError, ArtifactError) as error:
            self._tell("refused", submission, str(error))
            return self._answer(submission, "refused", str(error), {})
        except LedgerError:
            raise  # not this job's doing
        except (DatasiteError, OSError) as error:
            seconds = self._retries.failed(submission.job)
            if isinstance(error, StateGoneError) and seconds > _GONE_SECONDS:
                self._tell("refused", submission, str(error))
                return self._answer(submission, "refused", "its round is over", {})
            if isinstance(error, SandboxError) and seconds > _GONE_SECONDS:
                # Not for ever: each try costs time that others' jobs wait for.
                self._tell("refused", submission, str(error))
                return self._answer(submission, "refused", "it could not be run here", {})
            # The share is away, the disk is full: the job stays queued and is tried again.
            if not isinstance(error, StateGoneError):
                self._waiting_for[submission.job] = in_words(error)
            self._tell("postponed", submission, in_words(error))
            return False
        except Exception as error:
            # No message of a peer may end the service for everybody. The error's text may quote
            # anything, so only its kind is told. A run that was under way ends as after a crash.
            if self.ledger.state_of(submission.job) == "reserved":
                log.warning("run broke off", job=submission.job, kind=type(error).__name__)
                return False
            self._tell("refused", submission, f"not understood: {type(error).__name__}")
            return self._answer(submission, "refused", "the message was not understood", {})

    def _tell(self, what: str, submission: Submission, reason: str) -> None:
        """Book and log a refusal once, however often the loop meets it again."""
        self._bulletin.tell(what, submission.sender, reason, submission.job)

    def _proposal(self, submission: Submission, proposal: Proposal) -> bool:
        request = desk.file_request(self.home, self.ledger, submission, proposal)
        if request.status == "pending":
            self._in_review.add(submission.job)
            log.info("a study waits for your decision", study=proposal.study, by=submission.sender)
            return False
        status = "done" if request.status == "approved" else "refused"
        return self._answer(submission, status, request.status_text, {})

    def _round(self, submission: Submission, order: Round) -> bool:
        job = submission.job
        state = self.ledger.state_of(job)
        if state == "reserved":
            # An error came between RESERVE and COMMIT: the same rules as after a crash.
            self.recover()
            state = self.ledger.state_of(job)
        outcome = self._run(submission, order) if state is None else state
        if outcome == _HELD or not self._is_due(submission, order):
            # What there is to tell is kept, and told when this service runs again.
            return False
        if self.ledger.is_revoked(order.study):
            return self._answer(submission, "failed", "the merchant revoked this study", {})
        if outcome == "committed":
            return self._answer(submission, "done", "", runs.release_files(self.home, job))
        # Why a run failed may depend on shoppers, so the reason stays here.
        text = "the run failed; its log stays at the merchant"
        return self._answer(submission, "failed", text, {})

    def _run(self, submission: Submission, order: Round) -> str:
        proposal, phase = desk.check_round(self.home, self.ledger, submission, order)
        try:
            digest = self._reserve(submission, order, proposal, phase)
        except BaseException:
            # Refused, or tried again from the start: a state may be large, and others may follow.
            if self.ledger.state_of(submission.job) is None:
                runs.discard(self.home, submission.job)
            raise
        job = submission.job
        log.info("running", job=job, phase=phase.name)

        def cancelled() -> bool:
            # Revoking a study ends its runs in the ledger.
            return self.ledger.state_of(job) != "reserved" or not self._hears(submission.sender)

        outcome: dict[str, Any] | None = None
        problem = ""
        try:
            outcome = runs.execute(
                self.home, job, submission.code, digest, phase, cancelled=cancelled
            )
        except LedgerError:
            raise
        except DatasiteError as error:
            problem = str(error)
        if not self._is_due(submission, order):
            return _HELD
        if outcome is None:
            if self.ledger.state_of(job) == "reserved":
                self.ledger.fail(job, problem)
            log.warning("run failed", job=job, reason=problem)
            return "failed"
        if not self._commit(job, outcome):
            return "failed"
        log.info("released", job=job, arrays=sorted(outcome["arrays"]))
        return "committed"

    def _reserve(
        self, submission: Submission, order: Round, proposal: Proposal, phase: Phase
    ) -> str:
        """Everything that a run needs, then its cost: from here on it counts. The code's digest."""
        job = submission.job
        inputs = runs.prepare(self.home, job, proposal, phase)
        if order.state is not None:
            self.link.download_state(
                submission.sender, order.state.name, order.state.sha256, inputs / "state"
            )
        if code.is_shipped(submission.code, proposal.recipe):
            expected = state_arrays(proposal.recipe, phase, proposal.settings, proposal.n_items)
            if expected is not None:
                runs.check_state(self.home, job, expected)
        digest = code.code_digest(submission.code)
        if is_program(proposal.recipe):
            # Before anything is reserved, and before any shopper's data: the reason may be told.
            check_loads(self.home, job, submission.code, digest)
        self._finish_forgetting()
        self.witnesses.check()
        with runs.room_taken(self.home, job, phase):
            self.ledger.reserve(
                order.study,
                job,
                phase.name,
                phase.privacy_events(),
                code_sha256=digest,
                params_sha256=proposal.sha256,
            )
        return digest

    def _finish_forgetting(self) -> None:
        """No run sees who asked to be forgotten, should a crash have come before she was gone, or
        an older file of purchases have been put back."""
        stamp = forgotten_stamp(self.home), purchases_stamp(self.home)
        if stamp != self._forgotten:
            finish_in_own_process(self.home)
            # As it was before: who asks meanwhile, and is then killed, is looked for next time.
            self._forgotten = stamp

    def _is_due(self, submission: Submission, order: Round) -> bool:
        """Wait until a run may be answered; False if this service is to stop before that.

        A study or peer that is revoked meanwhile waits no longer: nothing of the run leaves then.
        """

        def given_up() -> bool:
            self.alive()
            gone = self.ledger.is_revoked(order.study) or not self._hears(submission.sender)
            return gone or self._stopping()

        due = runs.wait_until_due(self.home, submission.job, given_up) or not self._stopping()
        self._cut_short = self._cut_short or not due
        return due

    def _result(self, submission: Submission, result: Result) -> bool:
        folder = desk.check_result(self.home, self.ledger, submission, result)
        kept = folder.with_name(f"{folder.name}.sha256")
        if (folder / "manifest.json").exists():
            if kept.exists() and kept.read_text() != result.state.sha256:
                raise ReviewError(
                    f"another model of the study '{result.study}' was delivered before, and stays. "
                    "Deliver this one in a study of another name."
                )
            if self._served.get(result.study) == result.state.sha256:
                # The same again: a fit takes minutes that others' jobs would wait for.
                return self._answer(submission, "done", "", {})
        else:
            fresh = folder.with_name(folder.name + ".new")
            shutil.rmtree(fresh, ignore_errors=True)
            self.link.download_state(
                submission.sender, result.state.name, result.state.sha256, fresh
            )
            apart.verify_artefact(self.home, fresh)
            # Noted first: a crash may then bring the note twice, and never a model without one.
            self.ledger.note("model", {"study": result.study, "sha256": result.state.sha256})
            shutil.rmtree(folder, ignore_errors=True)
            fresh.replace(folder)
            atomic_write_text(kept, result.state.sha256)
        try:
            fit.run_in_own_process(self.home, result.study)
        except DatasiteError as error:
            tries = self._fits[submission.job] = self._fits.get(submission.job, 0) + 1
            if tries < _FIT_TRIES:
                raise
            self._tell("model-not-served", submission, str(error))
            return self._answer(submission, "failed", "the model could not be taken up", {})
        self._served[result.study] = result.state.sha256
        log.info("model is served", study=result.study)
        return self._answer(submission, "done", "", {})
