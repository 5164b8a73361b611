"""What every part of the transport needs, and what this transport leaves out on purpose."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from pydantic import ConfigDict, PrivateAttr
from syft.sync.connections.base_connection import SyftboxPlatformConnection

from datasites.errors import TransportError
from datasites.syftbox.names import quoted
from datasites.syftbox.peers import PeerBook
from datasites.syftbox.store import ObjectStore, check_key

__all__ = ["ShareConnection", "plain_name"]

_SMALL = 64 * 1024


class ShareConnection(SyftboxPlatformConnection):  # type: ignore[misc]
    """One party's view of the share. Thread-safe: it holds no state but its settings."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    email: str
    store: ObjectStore
    book: PeerBook
    _writing: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def get_authenticated_email(self) -> str:
        return self.email

    def reset_caches(self) -> None:
        """Nothing is cached."""

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

    def _peer_json(self, key: str) -> dict[str, Any]:
        """Another party's small JSON object; {} if there is none that can be used.

        One party's oversized or unreadable file must not stop the exchange with the others.
        """
        with contextlib.suppress(TransportError):
            return self._get_json(key)
        return {}

    def _get_json(self, key: str) -> dict[str, Any]:
        """A small JSON object; {} if there is none or it is not one."""
        try:
            data = self.store.get(key, _SMALL)
            found = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _put_json(self, key: str, value: dict[str, Any]) -> None:
        self.store.put(key, json.dumps(value, sort_keys=True).encode())


def plain_name(name: str) -> str:
    """Return `name` if it is one file's name in a folder; else raise TransportError."""
    if "/" in name:
        raise TransportError(f"expected a file name without folders, found {name[:80]!r}")
    return check_key(name)
