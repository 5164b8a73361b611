"""What was decided about requests, and how to say it to their senders."""

from __future__ import annotations

from functools import cached_property

from datasites.merchant.ledger import Ledger

__all__ = ["Decisions"]


class Decisions:
    """The ledger's decisions, read once for as many requests as are asked about."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._states = {one.request_id: one.state for one in ledger.requests()}

    def of(self, job: str, study: str) -> tuple[str, str]:
        """Status of a request ("pending", "approved" ...) and a sentence about it."""
        state = self._states.get(job, "waiting")
        if state == "waiting":
            return "pending", "waiting for the merchant's review"
        if state == "rejected":
            reason = self._reasons.get(study, "no reason given")
            return "rejected", f"rejected: {reason}. To ask again, submit under a new study name"
        approval = self._ledger.approval(study)
        if approval is not None:
            return "approved", f"approved until {approval.expires[:10]}"
        if study in self._ever_revoked:
            return "revoked", "revoked. To ask again, submit under a new study name"
        return "expired", "the approval has expired. To ask again, submit under a new study name"

    @cached_property
    def _reasons(self) -> dict[str, str]:
        return {
            entry.study: str(entry.body["reason"])
            for entry in self._ledger.entries()
            if entry.kind == "rejected"
        }

    @cached_property
    def _ever_revoked(self) -> set[str]:
        return {entry.study for entry in self._ledger.entries() if entry.kind == "revoked"}
