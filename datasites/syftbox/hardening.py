"""PySyft's two syncers, made strict.

The stock ones believe the sender named inside a message, let peers write and delete anywhere
that permissions allow, unpack without bounds, and stop the exchange with everybody when one
message is bad. These trust a message only as far as its signature and its folder go, and put
whatever breaks a rule aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syft.sync.messages.proposed_filechange import ProposedFileChangesMessage
from syft.sync.sync.datasite_owner_syncer import DatasiteOwnerSyncer
from syft.sync.sync.datasite_watcher_syncer import DatasiteWatcherSyncer

from datasites.errors import PeerError, ReviewError, TransportError
from datasites.syftbox.messages import IncomingReply, read_job, read_reply
from datasites.syftbox.names import JOB_MESSAGE_BYTES, MAX_WAITING_JOBS, REPLY_MESSAGE_BYTES
from datasites.syftbox.quarantine import Quarantine
from datasites.syftbox.shelf import JobShelf
from datasites.syftbox.store import OversizeError
from datasites.syftbox.transport import ObjectStoreConnection

__all__ = ["StrictOwnerSyncer", "StrictWatcherSyncer", "open_envelope"]

# A peer that floods its inbox must not keep the others waiting.
_MESSAGES_A_SYNC = 100


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


class StrictOwnerSyncer(DatasiteOwnerSyncer):  # type: ignore[misc]
    """Takes jobs from accepted peers' inbox folders onto the shelf, and nothing else."""

    shelf: JobShelf
    quarantine: Quarantine
    hears: Callable[[str], bool]
    new_jobs: int = 0

    def sync(self, peer_emails: list[str], recompute_hashes: bool = True) -> None:
        """Read every peer's inbox.

        The stock method also reads the whole datasite into memory to find local changes; replies
        are sent explicitly instead.
        """
        for email in peer_emails:
            if not self.hears(email):
                continue
            try:
                check_shown_key(self._connection, email)
                for _ in range(_MESSAGES_A_SYNC):
                    found = self.pull_and_process_next_proposed_filechange(email, False)
                    if found is None:
                        break
            except (PeerError, TransportError) as error:
                self.quarantine.note(email, str(error))

    def pull_and_process_next_proposed_filechange(
        self, sender_email: str, raise_on_none: bool = True
    ) -> ProposedFileChangesMessage | None:
        """Take the sender's oldest message; returns a truthy marker while there may be more."""
        keys = self._connection.inbox_messages(sender_email)
        # Beyond that they wait in the share, where they cost the merchant nothing.
        if not keys or self.shelf.waiting_count(sender_email) >= MAX_WAITING_JOBS:
            return None
        key = keys[0]
        data: bytes | None = None
        try:
            data = self._connection.store.get(key, JOB_MESSAGE_BYTES)
            if data is not None:
                plain = open_envelope(self.connection_router.peer_store, sender_email, data)
                job = read_job(plain, owner=self.email, sender=sender_email)
                self.new_jobs += self.shelf.accept(job)
        except (ReviewError, OversizeError) as error:
            self.quarantine.put(sender_email, str(error), data)
        # Only now: a crash before this line brings the same message again, which is recognised.
        self._connection.delete_file_by_id(key)
        return ProposedFileChangesMessage(sender_email=sender_email, proposed_file_changes=[])

    @property
    def _connection(self) -> ObjectStoreConnection:
        found: ObjectStoreConnection = self.connection_router.connections[0]
        return found


class StrictWatcherSyncer(DatasiteWatcherSyncer):  # type: ignore[misc]
    """Takes replies from merchants' outboxes and writes them, and nothing else.

    Attributes:
        read_cursor, write_cursor: How far a merchant's outbox was read, kept over restarts.
        wanted: Tells whether a reply to (merchant, job) is awaited.
        finished: Told about each reply once its files are written.
    """

    quarantine: Quarantine
    read_cursor: Callable[[str], float | None]
    write_cursor: Callable[[str, float], None]
    wanted: Callable[[str, str], bool]
    finished: Callable[[str, IncomingReply], None]
    new_replies: int = 0

    def sync_down(self, peer_emails: list[str]) -> None:
        """Read every merchant's outbox; one that misbehaves does not stop the others."""
        for email in peer_emails:
            if not self._connection.book.has_key(email):
                continue
            try:
                check_shown_key(self._connection, email)
                self._read_outbox(email)
            except (PeerError, TransportError) as error:
                self.quarantine.note(email, str(error))

    def _read_outbox(self, peer: str) -> None:
        since = self.read_cursor(peer)
        last = since
        for row in self.connection_router.watcher_get_outbox_file_metadatas(peer, since):
            data: bytes | None = None
            try:
                data = self._connection.store.get(row["file_id"], REPLY_MESSAGE_BYTES)
                if data is not None:
                    self._apply(peer, data)
            except (ReviewError, OversizeError) as error:
                self.quarantine.put(peer, str(error), data)
            last = float(row["timestamp"])
            self.write_cursor(peer, last)
        if last is not None and last != since:
            self._connection.write_ack(peer, last)

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
