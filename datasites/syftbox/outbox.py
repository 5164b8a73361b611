"""A merchant's answers on their way: put in the share, and kept until the reader signs for them.

Whoever can write to the share may delete an answer or put other bytes in its place. Neither loses
it: what is missing is put there again, what was spoiled under a new name, until a receipt comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from syft.sync.events.file_change_event import (
    FileChangeEvent,
    FileChangeEventsMessage,
    FileChangeEventsMessageFileName,
)

from datasites.errors import ReviewError, TransportError
from datasites.quarantine import Quarantine
from datasites.syftbox.clients import Party
from datasites.syftbox.hardening import open_envelope
from datasites.syftbox.messages import REPLY_FILE
from datasites.syftbox.receipts import Receipt, open_receipt
from datasites.syftbox.shelf import JobShelf, StoredReply
from datasites.syftbox.store import OversizeError
from datasites.syftbox.transport import MOST_LISTED

__all__ = ["Outbox"]

_CLEARING_SECONDS = 2.0


class Outbox:
    """Delivers one merchant's stored answers.

    Args:
        hears: Asked about a peer right before anything is sent to it.
    """

    def __init__(
        self,
        party: Party,
        shelf: JobShelf,
        quarantine: Quarantine,
        hears: Callable[[str], bool],
    ) -> None:
        self._party = party
        self._shelf = shelf
        self._quarantine = quarantine
        self._hears = hears
        self._emptied: set[str] = set()

    def deliver(self) -> None:
        """Put undelivered answers in the share, oldest first, each under a name of its own.

        A crash after the write and before the note brings the same file under the same name. An
        answer goes to the key that asked, never to another key of the same e-mail.
        """
        for reply in self._shelf.undelivered():
            if self._may_send(reply):
                self._put(reply)
                self._shelf.delivered(reply)

    def settle(self) -> None:
        """Forget answers that were signed for; put back those that the share lost or spoiled."""
        book = self._party.book
        for email, facts in book.all().items():
            if facts.get("state") == "rejected" and email not in self._emptied:
                self._party.connection.clear_outbox(email)
                self._emptied.add(email)
        for email in book.accepted():
            sent = [reply for reply in self._shelf.sent(email) if self._may_send(reply)]
            # Nothing is looked up in the share for a peer that has read everything.
            if sent:
                self._settle(email, sent)

    def withdraw(self, email: str) -> None:
        """Take everything back that lies in the share for a revoked peer."""
        self._emptied.discard(email)
        # If the share is away, `settle` tries again.
        with contextlib.suppress(TransportError):
            self._party.connection.clear_outbox(email)
            self._emptied.add(email)

    def _settle(self, email: str, sent: list[StoredReply]) -> None:
        connection = self._party.connection
        receipt = self._receipt(email)
        names = {self._name(reply): reply for reply in sent}
        for name, reply in list(names.items()):
            if name in receipt.read:
                self._shelf.read(reply)
                del names[name]
        lying = connection.outbox_names(self.email, email)
        # What is not this merchant's was put there by somebody else, or has been read.
        end = time.monotonic() + _CLEARING_SECONDS
        for name in [name for name in lying if name not in names]:
            connection.clear_outbox(email, name)
            if time.monotonic() > end:
                break
        for name, reply in names.items():
            if name in receipt.spoiled:
                fresh = self._shelf.renamed(reply)
                self._put(fresh)
                connection.clear_outbox(email, name)
            elif name not in lying and len(lying) < MOST_LISTED:
                self._put(self._shelf.loaded(reply))

    def _receipt(self, email: str) -> Receipt:
        connection = self._party.connection
        try:
            data = connection.read_receipt(email)
            if data is None:
                return Receipt()
            store = self._party.engine.peer_manager.peer_store
            return open_receipt(
                data, email, self.email, lambda plain: open_envelope(store, email, plain)
            )
        except (ReviewError, OversizeError) as error:
            self._quarantine.note(email, f"its receipt: {error}")
            return Receipt()

    @property
    def email(self) -> str:
        """The merchant's address."""
        return self._party.email

    def _may_send(self, reply: StoredReply) -> bool:
        record, book = reply.record, self._party.book
        return (
            record.sender in book.accepted()
            and record.fingerprint == book.pinned(record.sender)
            and self._hears(record.sender)
        )

    def _put(self, reply: StoredReply) -> None:
        self._party.router.owner_write_event_messages_to_outbox(
            reply.record.sender, self._message(reply)
        )

    def _file_name(self, reply: StoredReply) -> FileChangeEventsMessageFileName:
        text = f"{self.email}/{reply.record.key}/{reply.attempt}"
        return FileChangeEventsMessageFileName(
            id=uuid.uuid5(uuid.NAMESPACE_URL, text), timestamp=reply.timestamp
        )

    def _name(self, reply: StoredReply) -> str:
        return str(self._file_name(reply).as_string())

    def _message(self, reply: StoredReply) -> FileChangeEventsMessage:
        manifest: dict[str, Any] = {
            "status": reply.status,
            "message": reply.message,
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in reply.files.items()},
        }
        # The manifest comes last: a reader that finds it finds the files too.
        contents = {**reply.files, REPLY_FILE: json.dumps(manifest).encode()}
        review = Path("app_data/job/review") / reply.record.sender / "v1" / reply.record.name
        file_name = self._file_name(reply)
        return FileChangeEventsMessage(
            events=[
                FileChangeEvent(
                    id=uuid.uuid5(file_name.id, name),
                    path_in_datasite=review / name,
                    datasite_email=self.email,
                    content=data,
                    new_hash=hashlib.sha256(data).hexdigest(),
                    submitted_timestamp=reply.timestamp,
                    timestamp=reply.timestamp,
                )
                for name, data in contents.items()
            ],
            message_filepath=file_name,
        )
