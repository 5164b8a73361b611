"""PySyft's transport over any fsspec filesystem.

Key layout; party P writes only below `P/` or into `Q/inbox/P/`:

    P/version.json
    P/bundles/Q.json                        P's public key, written for Q
    P/inbox/Q/peer_request.json             Q asks P to pair
    P/inbox/Q/msgv2_*                       jobs from Q, encrypted
    P/inbox/Q/ack.json                      how far Q has read P's outbox
    P/outbox/Q/syfteventsmessagev3_*        replies to Q, encrypted
    P/collections/PREFIX_TAG_HASH/          files, and _acl.json with who may see them

An owner's event log, checkpoints and rolling state are not kept in the share: its own folder is
the durable state, and copying all of it on every exchange is what makes rounds slow down.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from typing import Any, ClassVar

from pydantic import ConfigDict, PrivateAttr
from syft.sync.connections.base_connection import (
    ConnectionConfig,
    FileCollection,
    SyftboxPlatformConnection,
)
from syft.sync.events.file_change_event import FileChangeEventsMessageFileName
from syft.sync.messages.proposed_filechange import MessageFileName
from syft.sync.version.version_info import VersionInfo

from datasites.errors import PeerError, TransportError
from datasites.syftbox.keys import fingerprint_of
from datasites.syftbox.names import PARCEL_BYTES, REPLY_MESSAGE_BYTES, check_email, quoted
from datasites.syftbox.peers import PeerBook
from datasites.syftbox.store import ObjectStore, check_key

__all__ = ["ObjectStoreConfig", "ObjectStoreConnection"]

_SMALL = 64 * 1024
_REQUEST = "peer_request.json"
_ACK = "ack.json"
_ACL = "_acl.json"
_MESSAGE_PREFIX = "msgv2_"
_MAX_REQUESTS = 100
# Neither part may hold '_', which separates the three parts of a collection's folder.
_COLLECTION_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.~-]{0,190}")


class ObjectStoreConnection(SyftboxPlatformConnection):  # type: ignore[misc]
    """One party's view of the share. Thread-safe: it holds no state but its settings."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    email: str
    store: ObjectStore
    book: PeerBook
    _writing: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def from_config(cls, config: ObjectStoreConfig) -> ObjectStoreConnection:
        return cls(config=config, email=config.email, store=config.store, book=config.book)

    def get_authenticated_email(self) -> str:
        return self.email

    def reset_caches(self) -> None:
        """Nothing is cached."""

    # -- peers, keys, versions ---------------------------------------------------------------

    def add_peer(self, peer_email: str) -> None:
        self._put_json(f"{self._inbox(peer_email, self.email)}/{_REQUEST}", {"from": self.email})

    def get_peer_requests(self) -> list[str]:
        """Everybody with a request here, accepted peers included, revoked ones not."""
        found: list[str] = []
        for sender in self.store.folders(f"{quoted(self.email)}/inbox")[: 10 * _MAX_REQUESTS]:
            with contextlib.suppress(PeerError):
                if quoted(sender) != sender or self.book.state(sender) == "rejected":
                    continue
                names = dict(self.store.files(f"{quoted(self.email)}/inbox/{sender}"))
                if _REQUEST in names and len(found) < _MAX_REQUESTS:
                    found.append(sender)
        return found

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
        bundle = self._get_json(key).get("public_encryption_bundle")
        return bundle if isinstance(bundle, dict) else None

    def shown_fingerprint(self, peer_email: str) -> str:
        """Fingerprint of the key that the share shows for a peer; '' if none, PeerError if bad."""
        bundle = self.shown_bundle(peer_email)
        return "" if bundle is None else fingerprint_of(bundle, peer_email)

    def write_version_file(self, version_info: VersionInfo) -> None:
        self.store.put(self._own("version.json"), version_info.to_json().encode())

    def read_own_version_file(self) -> VersionInfo | None:
        return self.read_peer_version_file(self.email)

    def read_peer_version_file(self, peer_email: str) -> VersionInfo | None:
        try:
            data = self.store.get(f"{quoted(peer_email)}/version.json", _SMALL)
            return None if data is None else VersionInfo.from_json(data.decode())
        except Exception:
            # Written by another party: a bad one must not stop the exchange with the others.
            return None

    def share_version_file_with_peer(self, peer_email: str) -> None:
        """Whoever sees the share sees versions."""

    # -- inbox: scientist to merchant ----------------------------------------------------------

    def watcher_send_raw_bytes_to_inbox(self, recipient: str, filename: str, data: bytes) -> None:
        self.store.put(f"{self._inbox(recipient, self.email)}/{_plain(filename)}", data)

    def inbox_messages(self, sender: str) -> list[str]:
        """Keys of a sender's messages, oldest first; names that do not parse come last."""
        folder = self._inbox(self.email, sender)
        names = [name for name, _ in self.store.files(folder) if name.startswith(_MESSAGE_PREFIX)]
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

    def write_ack(self, peer_email: str, timestamp: float) -> None:
        """Tell a merchant that its outbox was read up to `timestamp`."""
        self._put_json(f"{self._inbox(peer_email, self.email)}/{_ACK}", {"read": timestamp})

    def read_ack(self, peer_email: str) -> float:
        """How far a peer has read this party's outbox."""
        read = self._get_json(f"{self._inbox(self.email, peer_email)}/{_ACK}").get("read", 0.0)
        return float(read) if isinstance(read, int | float) else 0.0

    # -- outbox: merchant to scientist ---------------------------------------------------------

    def owner_write_raw_bytes_to_outbox(self, recipient: str, filename: str, data: bytes) -> None:
        self.store.put(self._own(f"outbox/{quoted(recipient)}/{_plain(filename)}"), data)

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

    def prune_outbox(self, peer_email: str) -> None:
        """Remove what the peer says it has read."""
        read = self.read_ack(peer_email)
        if read <= 0:
            return
        for row in self._events(self._own(f"outbox/{quoted(peer_email)}"), None):
            if row["timestamp"] <= read:
                self.store.delete(row["file_id"])

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

    # -- collections ---------------------------------------------------------------------------

    def owner_create_collection_folder(
        self, prefix: str, tag: str, content_hash: str, owner_email: str
    ) -> str:
        if owner_email != self.email:
            raise TransportError("a collection can only be made in one's own folder")
        folder = self._collection(self.email, prefix, tag, content_hash)
        if not self._get_json(f"{folder}/{_ACL}"):
            self._put_json(f"{folder}/{_ACL}", {"users": [], "any": False})
        return folder

    def owner_upload_collection_files(
        self, prefix: str, tag: str, content_hash: str, files: dict[str, bytes]
    ) -> None:
        folder = self._collection(self.email, prefix, tag, content_hash)
        for name, data in files.items():
            if _plain(name) == _ACL:
                raise TransportError(f"a collection's file cannot be called {_ACL}")
            self.store.put(f"{folder}/{name}", data)

    def owner_share_collection(
        self, prefix: str, tag: str, content_hash: str, users: list[str]
    ) -> None:
        self._change_acl(prefix, tag, content_hash, users, anyone=False)

    def owner_tag_collection_as_any(self, prefix: str, tag: str, content_hash: str) -> None:
        self._change_acl(prefix, tag, content_hash, [], anyone=True)

    def owner_list_collections(self, prefix: str) -> list[str]:
        return sorted({tag for _, tag, _ in self._collections(self.email, prefix)})

    def owner_list_all_collections_with_permissions(self, prefix: str) -> list[FileCollection]:
        return [
            FileCollection(
                folder_id=folder,
                tag=tag,
                content_hash=content_hash,
                has_any_permission=bool(self._get_json(f"{folder}/{_ACL}").get("any")),
            )
            for folder, tag, content_hash in self._collections(self.email, prefix)
        ]

    def owner_delete_collection(self, prefix: str, tag: str) -> None:
        for folder, found, _ in self._collections(self.email, prefix):
            if found == tag:
                self.store.delete(folder)

    def watcher_list_collections(self, prefix: str) -> list[dict[str, str]]:
        return [row for owner in self.book.accepted() for row in self.collections_of(owner, prefix)]

    def collections_of(self, owner: str, prefix: str) -> list[dict[str, str]]:
        """One owner's collections that are shared with this party."""
        found = []
        for folder, tag, content_hash in self._collections(owner, prefix):
            acl = self._get_json(f"{folder}/{_ACL}")
            users = acl.get("users")
            if acl.get("any") or (isinstance(users, list) and self.email in users):
                found.append({"owner_email": owner, "tag": tag, "content_hash": content_hash})
        return found

    def watcher_get_collection_file_metadatas(
        self, prefix: str, tag: str, content_hash: str, owner_email: str
    ) -> list[dict[str, str]]:
        folder = self._collection(owner_email, prefix, tag, content_hash)
        return [
            {"file_id": f"{folder}/{name}", "file_name": name}
            for name, _ in self.store.files(folder)
            if name != _ACL
        ]

    def watcher_download_collection(
        self, prefix: str, tag: str, content_hash: str, owner_email: str
    ) -> dict[str, bytes]:
        rows = self.watcher_get_collection_file_metadatas(prefix, tag, content_hash, owner_email)
        return {
            row["file_name"]: self.watcher_download_collection_file(row["file_id"]) for row in rows
        }

    def watcher_download_collection_file(self, file_id: str) -> bytes:
        data = self.store.get(file_id, PARCEL_BYTES)
        if data is None:
            raise TransportError("a collection's file is gone; ask its owner to publish it again")
        return data

    # -- the owner's own log: its folder is the durable state, so nothing is kept in the share ---

    def owner_write_raw_bytes_to_syftbox(self, filename: str, data: bytes) -> str:
        return ""

    def owner_download_raw_bytes_by_id(self, file_id: str) -> bytes:
        raise TransportError("no event log is kept in the share")

    def owner_get_all_accepted_event_file_ids(
        self, since_timestamp: float | None = None
    ) -> list[str]:
        return []

    def owner_download_all_raw_events_from_syftbox(self) -> list[bytes]:
        return []

    def get_events_count_since_checkpoint(self, checkpoint_timestamp: float | None) -> int:
        return 0

    def download_raw_events_since_timestamp(self, since_timestamp: float) -> list[bytes]:
        return []

    def upload_raw_checkpoint(self, filename: str, data: bytes) -> str:
        return ""

    def download_raw_latest_checkpoint(self) -> bytes | None:
        return None

    def upload_raw_incremental_checkpoint(self, filename: str, data: bytes) -> str:
        return ""

    def download_all_raw_incremental_checkpoints(self) -> list[bytes]:
        return []

    def get_incremental_checkpoint_count(self) -> int:
        return 0

    def get_next_incremental_sequence_number(self) -> int:
        return 1

    def delete_all_incremental_checkpoints(self) -> None:
        """None are kept."""

    def upload_raw_rolling_state(self, filename: str, data: bytes) -> str:
        return ""

    def download_raw_rolling_state(self) -> bytes | None:
        return None

    def delete_rolling_state(self) -> None:
        """None is kept."""

    # -- housekeeping ----------------------------------------------------------------------------

    def gather_all_file_and_folder_ids(self) -> list[str]:
        return [quoted(self.email)]

    def find_orphaned_message_files(self) -> list[str]:
        return []

    def delete_file_by_id(self, file_id: str) -> None:
        """Remove a file or folder of this party's own. Raises TransportError for another's."""
        own = quoted(self.email)
        if check_key(file_id) != own and not file_id.startswith(f"{own}/"):
            raise TransportError("a party can only delete below its own folder")
        self.store.delete(file_id)

    def delete_multiple_files_by_ids(
        self,
        file_ids: list[str],
        ignore_permissions_errors: bool = True,
        ignore_file_not_found: bool = True,
    ) -> None:
        for file_id in file_ids:
            self.delete_file_by_id(file_id)

    # -- parts -----------------------------------------------------------------------------------

    def _own(self, rest: str) -> str:
        return f"{quoted(self.email)}/{rest}"

    def _inbox(self, owner: str, sender: str) -> str:
        return f"{quoted(owner)}/inbox/{quoted(sender)}"

    def _collection(self, owner: str, prefix: str, tag: str, content_hash: str) -> str:
        for part in (prefix, tag, content_hash):
            if not _COLLECTION_PART.fullmatch(part) or ".." in part:
                raise TransportError(
                    "expected letters, digits, '.', '~' or '-' in a collection's name, "
                    f"found {part[:80]!r}"
                )
        return f"{quoted(owner)}/collections/{prefix}_{tag}_{content_hash}"

    def _collections(self, owner: str, prefix: str) -> list[tuple[str, str, str]]:
        root = f"{quoted(check_email(owner))}/collections"
        found = []
        for name in self.store.folders(root):
            parts = name.split("_")
            if len(parts) == 3 and parts[0] == prefix and all(parts):
                found.append((f"{root}/{name}", parts[1], parts[2]))
        return found

    def _change_acl(
        self, prefix: str, tag: str, content_hash: str, users: list[str], anyone: bool
    ) -> None:
        key = f"{self._collection(self.email, prefix, tag, content_hash)}/{_ACL}"
        with self._writing:
            acl = self._get_json(key)
            known = {user for user in acl.get("users", []) if isinstance(user, str)}
            everyone = bool(acl.get("any")) or anyone
            self._put_json(key, {"users": sorted(known | set(users)), "any": everyone})

    def _events(self, folder: str, since: float | None) -> list[dict[str, Any]]:
        rows = []
        for name, _ in self.store.files(folder):
            with contextlib.suppress(ValueError):
                timestamp = float(FileChangeEventsMessageFileName.from_string(name).timestamp)
                if since is None or timestamp > since:
                    rows.append(
                        {
                            "file_id": f"{folder}/{name}",
                            "file_name": name,
                            "timestamp": timestamp,
                        }
                    )
        return sorted(rows, key=lambda row: (row["timestamp"], row["file_name"]))

    def _get_json(self, key: str) -> dict[str, Any]:
        """A small JSON object of anybody's; {} if there is none or it is not one."""
        try:
            data = self.store.get(key, _SMALL)
            found = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _put_json(self, key: str, value: dict[str, Any]) -> None:
        self.store.put(key, json.dumps(value, sort_keys=True).encode())


class ObjectStoreConfig(ConnectionConfig):  # type: ignore[misc]
    """How PySyft's managers make their connections to one share."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    connection_type: ClassVar[type[ObjectStoreConnection]] = ObjectStoreConnection

    email: str
    store: ObjectStore
    book: PeerBook


def _plain(name: str) -> str:
    if "/" in name:
        raise TransportError(f"expected a file name without folders, found {name[:80]!r}")
    return check_key(name)


def _message_order(name: str) -> tuple[float, str]:
    try:
        return float(MessageFileName.from_string(name).submitted_timestamp), name
    except Exception:
        return float("inf"), name
