"""What the books keep of each request, approval and run, and how a cost is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from recsys.privacy.events import PrivacyEvent

__all__ = ["Approval", "Cost", "Request", "Reservation"]


@dataclass(frozen=True)
class Request:
    """A code request as it arrived, and what became of it."""

    request_id: str
    study: str
    sender: str
    code_sha256: str
    params_sha256: str
    at: str
    state: Literal["waiting", "approved", "rejected"] = "waiting"

    @property
    def binding(self) -> tuple[str, str, str, str]:
        """What an approval is given for: study, sender, code and parameters."""
        return self.study, self.sender, self.code_sha256, self.params_sha256


@dataclass(frozen=True)
class Approval:
    """A standing permission: this code, these parameters, these releases, so many runs, until then.

    `used` is how many runs were reserved; `unused` are the events that no run has taken yet.
    """

    request_id: str
    study: str
    sender: str
    code_sha256: str
    params_sha256: str
    events: tuple[PrivacyEvent, ...]
    rounds: int
    phases: tuple[str, ...] | None
    expires: str
    by: str
    at: str
    used: int
    unused: tuple[PrivacyEvent, ...]


@dataclass(frozen=True)
class Reservation:
    """One run of approved code, and the releases that it was charged for."""

    job: str
    study: str
    phase: str
    events: tuple[PrivacyEvent, ...]
    request_id: str
    at: str
    state: Literal["reserved", "committed", "failed"] = "reserved"


class Cost(NamedTuple):
    """A privacy cost: mu whose squares add up, and epsilon at the budget's delta as it is told.

    With subsampled steps in it, mu is that of a Gaussian release with this epsilon: for showing.
    """

    mu: float
    epsilon: float
