"""PySyft's two syncers, made strict.

The stock ones believe the sender named inside a message, let peers write and delete anywhere
that permissions allow, unpack without bounds, and stop the exchange with everybody when one
message is bad. These trust a message only as far as its signature and its folder go, and put
whatever breaks a rule aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import Field
from syft.sync.messages.proposed_filechange import ProposedFileChangesMessage
from syft.sync.sync.datasite_owner_syncer import DatasiteOwnerSyncer
from syft.sync.sync.datasite_watcher_syncer import DatasiteWatcherSyncer

from datasites.errors import PeerError, ReviewError, TransportError
from datasites.quarantine import Quarantine
from datasites.syftbox.allowance import DailyCount
from datasites.syftbox.messages import IncomingReply, read_job, read_reply
from datasites.syftbox.names import (
    JOB_MESSAGE_BYTES,
    MAX_JOBS_A_DAY,
    MAX_UNREAD_REPLIES,
    MAX_WAITING_JOBS,
    MIB,
)
from datasites.syftbox.receipts import ReadMarks, Receipt, pack_receipt
from datasites.syftbox.shelf import JobShelf
from datasites.syftbox.store import OversizeError
from datasites.syftbox.transport import ObjectStoreConnection

__all__ = ["StrictOwnerSyncer", "StrictWatcherSyncer", "open_envelope"]

# A peer that floods its inbox must not keep the others waiting.
_MESSAGES_A_SYNC = 100
_INBOX_BYTES_A_SYNC = 32 * MIB
_OUTBOX_BYTES_A_SYNC = 256 * MIB


def open_envelope(peer_store: Any, sender: str, data: bytes) -> bytes:
    """Verify and decrypt what `sender` sent. Raises ReviewError; plaintext is never accepted."""
    try:
        peer_store.verify_message(sender, data)
        plain: bytes = peer_store.decrypt(sender, data)
    except Exception as error:
        raise ReviewError(
            "expected a message encrypted to this party and signed with its sender's pinned key, "
            "found another"
        ) from error
    return plain


def check_shown_key(connection: ObjectStoreConnection, email: str) -> None:
    """Raise PeerError if the share shows another key for an accepted peer than the pinned one."""
    shown = connection.shown_fingerprint(email)
    if shown:
        connection.book.check_pin(email, shown, connection.book.pinned(email))


def _each(peers: Iterable[str], read: Callable[[str], None], quarantine: Quarantine) -> None:
    """Read from every peer; one that misbehaves does not stop the others.

    Raises TransportError if nobody could be read from: then it is the share that fails.
    """
    away: dict[str, TransportError] = {}
    others = 0
    for email in peers:
        try:
            read(email)
            others += 1
        except PeerError as refused:
            others += 1
            quarantine.note(email, str(refused))
        except TransportError as unreachable:
            away[email] = unreachable
    if away and not others:
        raise next(iter(away.values()))
    for email, reason in away.items():
        quarantine.note(email, str(reason))


class StrictOwnerSyncer(DatasiteOwnerSyncer):  # type: ignore[misc]
    """Takes jobs from accepted peers' inbox folders onto the shelf, and nothing else."""

    shelf: JobShelf
    quarantine: Quarantine
    hears: Callable[[str], bool]
    taken_today: DailyCount
    new_jobs: int = 0

    def sync(self, peer_emails: list[str], recompute_hashes: bool = True) -> None:
        """Read every peer's inbox, each for itself: a bad one does not stop the others.

        The stock method also reads the whole datasite into memory to find local changes; replies
        are sent explicitly instead.
        """

        def read(email: str) -> None:
            check_shown_key(self._connection, email)
            self._read_inbox(email)

        _each(filter(self.hears, peer_emails), read, self.quarantine)

    def pull_and_process_next_proposed_filechange(
        self, sender_email: str, raise_on_none: bool = True
    ) -> ProposedFileChangesMessage | None:
        """Take the sender's oldest message; returns a truthy marker while there may be more."""
        if not self._read_inbox(sender_email, most=1):
            return None
        return ProposedFileChangesMessage(sender_email=sender_email, proposed_file_changes=[])

    def _read_inbox(self, sender: str, most: int = _MESSAGES_A_SYNC) -> int:
        # Listed once: a full inbox would otherwise be listed for each of its messages.
        keys = self._connection.inbox_messages(sender)[:most]
        room = self._room(sender) if keys else 0
        taken = size = 0
        for key in keys:
            # Beyond that they wait in the share, where they cost the merchant nothing.
            if room <= 0 or size > _INBOX_BYTES_A_SYNC:
                break
            before = self.new_jobs
            size += self._take(sender, key)
            room -= self.new_jobs - before
            taken += 1
        return taken

    def _room(self, sender: str) -> int:
        """How many more jobs a peer may have here."""
        waiting = self.shelf.waiting_count(sender)
        return min(
            MAX_WAITING_JOBS - waiting,
            MAX_UNREAD_REPLIES - waiting - self.shelf.unread_count(sender),
            MAX_JOBS_A_DAY - self.taken_today.count(sender),
        )

    def _take(self, sender: str, key: str) -> int:
        data: bytes | None = None
        try:
            data = self._connection.store.get(key, JOB_MESSAGE_BYTES)
            if data is not None:
                plain = open_envelope(self.connection_router.peer_store, sender, data)
                job = read_job(plain, owner=self.email, sender=sender)
                fresh = self.shelf.accept(job, self._connection.book.pinned(sender))
                self.new_jobs += fresh
                self.taken_today.add(sender, int(fresh))
        except (TransportError, OSError) as error:
            # The share is away or the disk is full: the message waits where it is.
            if not isinstance(error, OversizeError):
                raise
            self.quarantine.put(sender, str(error), data)
        except ReviewError as error:
            self.quarantine.put(sender, str(error), data)
        except Exception as error:
            # No message may end the service for everybody. Its text may quote anything.
            self.quarantine.put(sender, f"not understood: {type(error).__name__}", data)
        # Only now: a crash before this line brings the same message again, which is recognised.
        self._connection.delete_file_by_id(key)
        return len(data or b"")

    @property
    def _connection(self) -> ObjectStoreConnection:
        found: ObjectStoreConnection = self.connection_router.connections[0]
        return found


class StrictWatcherSyncer(DatasiteWatcherSyncer):  # type: ignore[misc]
    """Takes replies from merchants' outboxes and writes them, and nothing else.

    What was read is remembered by name, never by time: a message dated a thousand years ahead must
    not hide those that follow.

    Attributes:
        marks: Which of a merchant's messages were read, kept over restarts.
        wanted: Tells whether a reply to (merchant, job) is awaited.
        finished: Told about each reply once its files are written.
    """

    quarantine: Quarantine
    marks: ReadMarks
    wanted: Callable[[str, str], bool]
    finished: Callable[[str, IncomingReply], None]
    new_replies: int = 0
    receipts: dict[str, Receipt] = Field(default_factory=dict)

    def sync_down(self, peer_emails: list[str]) -> None:
        """Read every merchant's outbox; one that misbehaves does not stop the others."""

        def read(email: str) -> None:
            check_shown_key(self._connection, email)
            self._read_outbox(email)

        _each(filter(self._connection.book.has_key, peer_emails), read, self.quarantine)

    def _read_outbox(self, peer: str) -> None:
        connection = self._connection
        known = self.marks.of(peer)
        lying = connection.outbox_names(peer, self.email)
        fresh = [name for name in lying if name not in known.read | known.spoiled]
        read, spoiled = set(known.read & set(lying)), set(known.spoiled & set(lying))
        size = 0
        for name in fresh[:_MESSAGES_A_SYNC]:
            if size > _OUTBOX_BYTES_A_SYNC:
                break
            data: bytes | None = None
            try:
                data = connection.read_reply_message(peer, name)
                if data is not None:
                    size += len(data)
                    self._apply(peer, data)
                    read.add(name)
                continue
            except (TransportError, OSError) as error:
                if not isinstance(error, OversizeError):
                    raise
                reason = str(error)
            except ReviewError as error:
                reason = str(error)
            except Exception as error:
                reason = f"not understood: {type(error).__name__}"
            self.quarantine.put(peer, reason, data)
            spoiled.add(name)
        marks = Receipt(frozenset(read), frozenset(spoiled))
        if marks != known:
            self.marks.write(peer, marks)
        self._sign_for(peer, marks)

    def _sign_for(self, peer: str, marks: Receipt) -> None:
        """Tell the merchant, anew after a restart: whoever runs the share may have lost it."""
        if marks != self.receipts.get(peer, Receipt()):
            store = self.connection_router.peer_store
            plain = pack_receipt(self.email, peer, marks)
            self._connection.write_receipt(peer, store.encrypt(peer, plain))
            self.receipts[peer] = marks

    def _apply(self, peer: str, data: bytes) -> None:
        plain = open_envelope(self.connection_router.peer_store, peer, data)
        reply, message = read_reply(plain, owner=peer, reader=self.email)
        if not self.wanted(peer, reply.job):
            return
        cache = self.datasite_watcher_cache
        cache.apply_event_message(message)
        cache.events_connection.clear_cache()
        self.new_replies += 1
        self.finished(peer, reply)

    @property
    def _connection(self) -> ObjectStoreConnection:
        found: ObjectStoreConnection = self.connection_router.connections[0]
        return found
