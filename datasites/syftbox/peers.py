"""peers.json: whom this party knows, in which state, and the key it pinned for each.

It lies in the private folder: a peer list in the share could be edited by whoever runs the share.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasites.errors import PeerError, SettingsError
from datasites.private import check_private_file
from datasites.syftbox.keys import fingerprint_of, same_fingerprint
from datasites.syftbox.names import check_email
from recsys.files import atomic_write_text

__all__ = ["PeerBook"]

_FINGERPRINT = re.compile(r"[0-9a-f]{32,64}")
_THREADS = threading.RLock()


class PeerBook:
    """The file peers.json: e-mail -> {state, public_encryption_bundle, fingerprint}.

    Looked at anew each time, because `serve` and the command line are different processes; read
    anew when it changed, because each exchange asks dozens of times.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], dict[str, dict[str, Any]]] | None = None

    def all(self) -> dict[str, dict[str, Any]]:
        """Every peer. Raises SettingsError if the file is damaged."""
        check_private_file(self._path)
        try:
            facts = self._path.stat()
            # Every change replaces the file, so that a new book is a new inode.
            mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if self._read is not None and self._read[0] == mark:
                return {email: dict(peer) for email, peer in self._read[1].items()}
            book: dict[str, dict[str, Any]] = json.loads(self._path.read_text())
            if not isinstance(book, dict) or not all(
                isinstance(facts, dict) for facts in book.values()
            ):
                raise ValueError("not a peer")
            self._read = (mark, {email: dict(peer) for email, peer in book.items()})
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, RecursionError) as error:
            raise SettingsError(
                f"expected {self._path.name} to be JSON, found a damaged file. Restore it from a "
                "backup, or remove it and pair again"
            ) from error
        return book

    def state(self, email: str) -> str:
        """The peer's state, '' if unknown."""
        return str(self.all().get(email, {}).get("state", ""))

    def pinned(self, email: str) -> str:
        """The peer's pinned identity fingerprint (hex), '' if none."""
        return str(self.all().get(email, {}).get("fingerprint", ""))

    def has_key(self, email: str) -> bool:
        """Tell whether the peer's whole public key is here, not only a fingerprint to expect."""
        return bool(self.all().get(email, {}).get("public_encryption_bundle"))

    def is_compared(self, email: str) -> bool:
        """Tell whether somebody compared the pinned key with the peer."""
        return bool(self.all().get(email, {}).get("compared"))

    def accepted(self) -> list[str]:
        """E-mails of accepted peers whose key is pinned."""
        return [
            email
            for email, peer in sorted(self.all().items())
            if peer.get("state") == "accepted" and peer.get("public_encryption_bundle")
        ]

    def update(self, email: str, state: str, bundle: dict[str, Any] | None = None) -> None:
        """Set a peer's state, and pin its key the first time that one is given.

        Raises PeerError if another key than the pinned one is given.
        """
        with self._changing() as book:
            peer = _entry(book, email)
            if bundle:
                found = fingerprint_of(bundle, email)
                self.check_pin(email, found, str(peer.get("fingerprint", "")))
                peer["fingerprint"] = found
                peer["public_encryption_bundle"] = bundle
            peer["state"] = state

    def expect(
        self,
        email: str,
        fingerprint: str,
        state: str = "requested_by_me",
        *,
        compared: bool = True,
    ) -> None:
        """Pin a fingerprint before the key itself is taken.

        Args:
            state: For somebody new.
            compared: Somebody compared it with the peer; otherwise it is only what was shown first.
        """
        digits = "".join(fingerprint.lower().split())
        if not _FINGERPRINT.fullmatch(digits):
            raise PeerError("expected a fingerprint of at least 32 hexadecimal digits")
        with self._changing() as book:
            peer = _entry(book, email, state)
            known = str(peer.get("fingerprint", ""))
            if known:
                self.check_pin(email, known, digits)
            else:
                peer["fingerprint"] = digits
            peer["compared"] = bool(peer.get("compared")) or compared

    def revoke(self, email: str, *, asked: bool = False) -> None:
        """Stop knowing a peer and forget its key, so that pairing again means comparing again.

        Raises PeerError if there is no such peer, and none that `asked` to be one.
        """
        with self._changing() as book:
            if check_email(email) not in book and not asked:
                raise PeerError(f"expected a peer to revoke, found none called {email[:80]!r}")
            book[email] = {"state": "rejected"}

    def readmit(self, email: str) -> None:
        """Let a revoked peer's requests be seen again."""
        with self._changing() as book:
            book.pop(email, None)

    def check_pin(self, email: str, found: str, pinned: str) -> None:
        """Raise PeerError unless `found` is the pinned fingerprint (or nothing was pinned)."""
        short, full = sorted((pinned, found), key=len)
        if pinned and not same_fingerprint(short, full):
            raise PeerError(
                f"the key of {email} is not the one pinned when you paired. Somebody may be "
                "posing as them: ask them in person, and only if they did make a new key, "
                "revoke them and pair again"
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, dict[str, Any]]]:
        lock = self._path.with_suffix(".lock")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _THREADS, lock.open("a") as handle:
            lock.chmod(0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            book = self.all()
            yield book
            atomic_write_text(self._path, json.dumps(book, indent=1, sort_keys=True), mode=0o600)


def _entry(book: dict[str, dict[str, Any]], email: str, state: str = "") -> dict[str, Any]:
    """A peer's entry, made if there is none.

    Raises PeerError for an address that differs from a known one in case alone: people, and some
    disks, take the two for one.
    """
    for known in book:
        if known != check_email(email) and known.lower() == email.lower():
            raise PeerError(
                f"expected {known}, found {email}, which differs in capital letters alone. Ask "
                "them in person which is theirs, and revoke the other first"
            )
    return book.setdefault(email, {"state": state} if state else {})
