"""Collections: folders of files that one party shares with named others."""

from __future__ import annotations

import re

from syft.sync.connections.base_connection import FileCollection

from datasites.errors import TransportError
from datasites.syftbox.names import PARCEL_BYTES, check_email, quoted
from datasites.syftbox.transport_base import ShareConnection, plain_name

__all__ = ["CollectionsConnection"]

_ACL = "_acl.json"
_MOST_LISTED = 2000
# No part may hold '_', which separates the three parts of a collection's folder.
_COLLECTION_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.~-]{0,190}")


class CollectionsConnection(ShareConnection):
    """The collection half of PySyft's transport interface.

    The list of who may see a collection is for finding it; what keeps others from reading it is
    encryption.
    """

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
            if plain_name(name) == _ACL:
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
            acl = self._peer_json(f"{folder}/{_ACL}")
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

    def collection_file(
        self, prefix: str, tag: str, content_hash: str, owner: str, name: str
    ) -> str:
        """The key of one file of a collection."""
        return f"{self._collection(owner, prefix, tag, content_hash)}/{plain_name(name)}"

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
        for name in self.store.folders(root, _MOST_LISTED):
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
