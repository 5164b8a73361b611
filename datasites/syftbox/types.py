"""What the two links hand out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Mock", "Peer", "Reply", "Submission", "SyncReport"]


@dataclass(frozen=True)
class Peer:
    """Another party.

    Attributes:
        state: accepted, requested_by_me, requested_by_peer, revoked, or key_changed when the
            share shows another key than the pinned one (nothing is exchanged then).
        fingerprint: Of its identity key, in groups to read aloud; '' while no key was seen.
        code: The pairing code's words, the same on both screens; '' while no key was seen.
        shown_now: The other key's fingerprint where the state is key_changed, else ''.
        compared: A fingerprint or a code of this key was compared with the peer.
    """

    email: str
    state: str
    fingerprint: str
    code: str = ""
    shown_now: str = ""
    compared: bool = False


@dataclass(frozen=True)
class Submission:
    """A job that was received and not answered yet. `code` never changes."""

    job: str
    sender: str
    code: Path
    params: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """The answer to a job: done, refused, failed, or waiting while there is none."""

    status: str
    message: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class SyncReport:
    """What one exchange brought: new jobs or replies, and (sender, reason) of what was refused."""

    new_jobs: int
    quarantined: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Mock:
    """Data of a merchant's schema, made from public facts alone, that peers may look at."""

    name: str
    summary: str
    files: dict[str, bytes]
