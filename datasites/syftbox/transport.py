"""PySyft's transport over any fsspec filesystem.

Key layout; party P writes only below `P/` or into `Q/inbox/P/`:

    P/version.json
    P/bundles/Q.json                        P's public key, written for Q
    P/inbox/Q/peer_request.json             Q asks P to pair
    P/inbox/Q/msgv2_*                       jobs from Q, encrypted
    P/inbox/Q/receipt                       which messages in P's outbox Q has read, encrypted
    P/outbox/Q/syfteventsmessagev3_*        replies to Q, encrypted
    P/collections/PREFIX_TAG_HASH/          files, and _acl.json with who may see them

An owner's event log, checkpoints and rolling state are not kept in the share: its own folder is
the durable state, and copying all of it on every exchange is what makes rounds slow down.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Any, ClassVar

from pydantic import ConfigDict
from syft.sync.connections.base_connection import ConnectionConfig
from syft.sync.messages.proposed_filechange import MessageFileName
from syft.sync.version.version_info import VersionInfo

from datasites.errors import PeerError, TransportError
from datasites.syftbox.keys import fingerprint_of
from datasites.syftbox.names import RECEIPT_BYTES, REPLY_MESSAGE_BYTES, quoted
from datasites.syftbox.peers import PeerBook
from datasites.syftbox.store import ObjectStore
from datasites.syftbox.transport_base import plain_name
from datasites.syftbox.transport_collections import CollectionsConnection

__all__ = ["MOST_LISTED", "ObjectStoreConfig", "ObjectStoreConnection"]

_VERSION_BYTES = 64 * 1024
_REQUEST = "peer_request.json"
_RECEIPT = "receipt"
_MESSAGE = re.compile(r"msgv2_[A-Za-z0-9.+_-]{1,180}")
_REPLY = re.compile(r"syfteventsmessagev3_(\d{1,12}(?:\.\d{1,17})?)_[0-9a-f-]{36}\.tar\.gz")
_MAX_REQUESTS = 20
MOST_LISTED = 5000


class ObjectStoreConnection(CollectionsConnection):
    """PySyft's transport interface: peers, keys, versions, inboxes and outboxes."""

    @classmethod
    def from_config(cls, config: ObjectStoreConfig) -> ObjectStoreConnection:
        return cls(config=config, email=config.email, store=config.store, book=config.book)

    # -- peers, keys, versions ---------------------------------------------------------------

    def add_peer(self, peer_email: str) -> None:
        self._put_json(f"{self._inbox(peer_email, self.email)}/{_REQUEST}", {"from": self.email})

    def get_peer_requests(self) -> list[str]:
        """Everybody with a request here, accepted peers included, revoked ones not."""
        book = self.book.all()
        # Known peers first: a flood of strangers' requests must not crowd them out.
        found = [
            sender
            for sender, facts in sorted(book.items())
            if facts.get("state") != "rejected" and self._has_request(sender)
        ]
        strangers = 0
        for sender in self.store.folders(f"{quoted(self.email)}/inbox", MOST_LISTED):
            if sender in book or strangers >= _MAX_REQUESTS:
                continue
            with contextlib.suppress(PeerError):
                if quoted(sender) == sender:
                    strangers += 1
                    found += [sender] if self._has_request(sender) else []
        return found

    def has_request(self, sender: str) -> bool:
        """Tell whether `sender` ever asked to pair."""
        return (
            self.store.get(f"{self._inbox(self.email, sender)}/{_REQUEST}", _VERSION_BYTES)
            is not None
        )

    def _has_request(self, sender: str) -> bool:
        # What lies in one inbox must not stop the exchange with the others.
        with contextlib.suppress(TransportError):
            return self.has_request(sender)
        return False

    def _get_peers_json(self, force_download: bool = False) -> dict[str, dict[str, Any]]:
        return self.book.all()

    def _update_peer_state(
        self, peer_email: str, state: str, public_encryption_bundle: dict[str, Any] | None = None
    ) -> None:
        self.book.update(peer_email, state, public_encryption_bundle)

    def write_encryption_bundle(self, peer_email: str, bundle_json: str) -> None:
        self.store.put(self._own(f"bundles/{quoted(peer_email)}.json"), bundle_json.encode())

    def share_encryption_bundles_folder(self, peer_email: str) -> None:
        """Whoever sees the share sees public keys."""

    def read_peer_encryption_bundle(self, peer_email: str) -> str | None:
        """The peer's key document if it verifies and is the pinned one, if one is pinned."""
        bundle = self.shown_bundle(peer_email)
        if bundle is None:
            return None
        try:
            found = fingerprint_of(bundle, peer_email)
            self.book.check_pin(peer_email, found, self.book.pinned(peer_email))
        except PeerError:
            return None
        return json.dumps({"public_encryption_bundle": bundle})

    def shown_bundle(self, peer_email: str) -> dict[str, Any] | None:
        """The key document that the share shows for a peer, unchecked; None if there is none."""
        key = f"{quoted(peer_email)}/bundles/{quoted(self.email)}.json"
        bundle = self._peer_json(key).get("public_encryption_bundle")
        return bundle if isinstance(bundle, dict) else None

    def shown_fingerprint(self, peer_email: str) -> str:
        """Fingerprint of the key that the share shows for a peer; '' if none, PeerError if bad."""
        bundle = self.shown_bundle(peer_email)
        return "" if bundle is None else fingerprint_of(bundle, peer_email)

    def own_shown_fingerprint(self, peer_email: str) -> str:
        """Fingerprint of this party's own key as the share shows it to a peer; '' if not whole."""
        key = self._own(f"bundles/{quoted(peer_email)}.json")
        bundle = self._peer_json(key).get("public_encryption_bundle")
        with contextlib.suppress(PeerError):
            return fingerprint_of(bundle, self.email) if isinstance(bundle, dict) else ""
        return ""

    @property
    def own_version_key(self) -> str:
        """Where this party announces itself, the first thing that it writes in a share."""
        return self._own("version.json")

    def write_version_file(self, version_info: VersionInfo) -> None:
        self.store.put(self.own_version_key, version_info.to_json().encode())

    def read_own_version_file(self) -> VersionInfo | None:
        return self.read_peer_version_file(self.email)

    def read_peer_version_file(self, peer_email: str) -> VersionInfo | None:
        try:
            data = self.store.get(f"{quoted(peer_email)}/version.json", _VERSION_BYTES)
            return None if data is None else VersionInfo.from_json(data.decode())
        except Exception:
            # Written by another party: a bad one must not stop the exchange with the others.
            return None

    def share_version_file_with_peer(self, peer_email: str) -> None:
        """Whoever sees the share sees versions."""

    # -- inbox: scientist to merchant ----------------------------------------------------------

    def watcher_send_raw_bytes_to_inbox(self, recipient: str, filename: str, data: bytes) -> None:
        self.store.put(f"{self._inbox(recipient, self.email)}/{plain_name(filename)}", data)

    def inbox_messages(self, sender: str) -> list[str]:
        """Keys of a sender's messages, oldest first; names that do not parse come last.

        Where thousands lie there, some of them, and in no order that can be relied on.
        """
        folder = self._inbox(self.email, sender)
        listed = self.store.files(folder, MOST_LISTED)
        names = [name for name, _ in listed if _MESSAGE.fullmatch(name)]
        return [f"{folder}/{name}" for name in sorted(names, key=_message_order)]

    def owner_download_next_raw_proposed_message_from_inbox(
        self, sender_email: str
    ) -> tuple[bytes, str] | None:
        for key in self.inbox_messages(sender_email):
            data = self.store.get(key, REPLY_MESSAGE_BYTES)
            if data is not None:
                return data, key
        return None

    def owner_remove_proposed_filechange_message_from_inbox(self, message: Any) -> None:
        self.delete_file_by_id(message.platform_id)

    def write_receipt(self, peer_email: str, envelope: bytes) -> None:
        """Tell a merchant which of its messages were read; encrypted and signed before."""
        self.store.put(f"{self._inbox(peer_email, self.email)}/{_RECEIPT}", envelope)

    def read_receipt(self, peer_email: str) -> bytes | None:
        """A peer's receipt as it lies in the share, still encrypted; None if there is none."""
        key = f"{self._inbox(self.email, peer_email)}/{_RECEIPT}"
        return self.store.get(key, 2 * RECEIPT_BYTES)

    # -- outbox: merchant to scientist ---------------------------------------------------------

    def owner_write_raw_bytes_to_outbox(self, recipient: str, filename: str, data: bytes) -> None:
        self.store.put(self._own(f"outbox/{quoted(recipient)}/{plain_name(filename)}"), data)

    def watcher_get_outbox_file_metadatas(
        self, peer_email: str, since_timestamp: float | None
    ) -> list[dict[str, Any]]:
        folder = f"{quoted(peer_email)}/outbox/{quoted(self.email)}"
        return self._events(folder, since_timestamp)

    def watcher_download_raw_events_from_outbox(
        self, peer_email: str, since_timestamp: float | None
    ) -> list[bytes]:
        rows = self.watcher_get_outbox_file_metadatas(peer_email, since_timestamp)
        return [self.download_file(row["file_id"]) for row in rows]

    def outbox_names(self, owner: str, reader: str) -> list[str]:
        """Names of the messages from `owner` to `reader`, oldest first."""
        rows = self._events(f"{quoted(owner)}/outbox/{quoted(reader)}", None)
        return [row["file_name"] for row in rows]

    def read_reply_message(self, owner: str, name: str) -> bytes | None:
        """One message from `owner` to this party, still encrypted; None if it is gone."""
        key = f"{quoted(owner)}/outbox/{quoted(self.email)}/{plain_name(name)}"
        return self.store.get(key, REPLY_MESSAGE_BYTES)

    def clear_outbox(self, peer_email: str, name: str | None = None) -> None:
        """Remove one message to a peer, or all."""
        folder = self._own(f"outbox/{quoted(peer_email)}")
        self.store.delete(folder if name is None else f"{folder}/{plain_name(name)}")

    def download_file(self, file_id: str) -> bytes:
        data = self.store.get(file_id, REPLY_MESSAGE_BYTES)
        if data is None:
            raise TransportError("a message that was listed is gone; the next exchange tries again")
        return data

    def _get_own_datasite_outbox_id(self, recipient: str) -> str:
        return self._own(f"outbox/{quoted(recipient)}")

    def get_file_metadatas_from_folder(
        self, folder_id: str, since_timestamp: float | None = None
    ) -> list[dict[str, Any]]:
        rows = self._events(folder_id, since_timestamp)
        return [{"id": row["file_id"], "name": row["file_name"]} for row in rows]

    # -- parts -----------------------------------------------------------------------------------

    def _events(self, folder: str, since: float | None) -> list[dict[str, Any]]:
        rows = []
        for name, _ in self.store.files(folder, MOST_LISTED):
            # Strictly: a name with NaN, a blank or a line end in it would stop or starve others.
            if (match := _REPLY.fullmatch(name)) is None:
                continue
            timestamp = float(match[1])
            if since is None or timestamp > since:
                rows.append(
                    {"file_id": f"{folder}/{name}", "file_name": name, "timestamp": timestamp}
                )
        return sorted(rows, key=lambda row: (row["timestamp"], row["file_name"]))


class ObjectStoreConfig(ConnectionConfig):  # type: ignore[misc]
    """How PySyft's managers make their connections to one share."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    connection_type: ClassVar[type[ObjectStoreConnection]] = ObjectStoreConnection

    email: str
    store: ObjectStore
    book: PeerBook


def _message_order(name: str) -> tuple[float, str]:
    try:
        when = float(MessageFileName.from_string(name).submitted_timestamp)
    except Exception:
        when = math.inf
    # NaN compares with nothing, and one such name would leave all in disorder.
    return (when if math.isfinite(when) else math.inf), name
