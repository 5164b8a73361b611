"""A folder of Google Drive as a share: PySyft's own connection to Drive, not its ledger of peers.

PySyft signs in and speaks with Drive. It would also keep peers and their keys there, where each of
them could change them; ToyFed puts its sealed and signed messages there, as into any other share,
and keeps keys and peers at home.

Drive differs from a disk: names may be there twice, listings may lag behind, only an owner can
delete. So a path is looked up part by part, several folders of one name count as one, of several
files the newest counts, and what is another's is taken out of the folder instead of deleted.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable
from typing import Any

from datasites.errors import TransportError

__all__ = ["FOLDER", "DriveFolder"]

FOLDER = "application/vnd.google-apps.folder"
BYTES = "application/octet-stream"
FACTS = "id,name,mimeType,size,createdTime,modifiedTime,parents,ownedByMe,trashed"
KNOWN_SECONDS = 60.0
"""So long readers take a folder's place as known: another party may make a second of its name."""
SMALL = 4 << 20
"""Up to so many bytes go in one request; Drive wants more to be sent so that it can be resumed."""
PAGE, MOST_PAGES = 1000, 20
MOST_TWINS = 16
"""Folders of one name that are looked into, and files of one name that are looked at."""
ATTEMPTS, PAUSE = 3, 1.0
_NOT_ALLOWED = {
    "appNotAuthorizedToFile",
    "forbidden",
    "insufficientFilePermissions",
    "insufficientParentPermissions",
    "insufficientPermissions",
}

Facts = dict[str, Any]


class DriveFolder:
    """The few things that ToyFed asks of a share, in the words of fsspec. Safe to use from threads.

    Args:
        service: Drive's API, version 3, as Google's client makes it.
        folder: id of the folder that is the share.
    """

    def __init__(self, service: Any, folder: str) -> None:
        self._service, self._share = service, folder
        # Google's client holds one connection, which two threads must not use at once.
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._written: dict[str, str] = {}
        self._ids: list[str] = []
        self._closed = False

    def close(self) -> None:
        """Begin no further request, so that a call that was given up cannot act later."""
        self._closed = True

    def check(self) -> None:
        """Raise TransportError unless the share is a folder of somebody's own Drive."""
        with self._lock:
            try:
                facts = self._do(lambda files: files.get(fileId=self._share, fields="*"))
            except FileNotFoundError:
                raise TransportError(
                    "expected a folder of Google Drive that was shared with this account, found "
                    "none of this id. Check the id, and that you are an editor"
                ) from None
        if facts.get("driveId") or facts["mimeType"] != FOLDER or facts.get("trashed"):
            raise TransportError(
                "expected a folder in somebody's own Google Drive, found a file, a deleted folder, "
                "or one of a shared drive, where only organizers can delete. Make a folder in My "
                "Drive and share it"
            )

    def ls(self, path: str, detail: bool = True) -> list[Facts]:
        """What lies right below a folder. Raises FileNotFoundError if there is none."""
        del detail
        with self._lock:
            rows = {
                one["name"]: {
                    "name": f"{path}/{one['name']}".lstrip("/"),
                    "type": "directory" if one["mimeType"] == FOLDER else "file",
                    "size": int(one.get("size", 0)),
                }
                for one in reversed(self._children(self._folders(path)))
                if _is_plain(one["name"])
            }
            return list(rows.values())

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """Read an object; one of `end` bytes or more as so many zeros, before reading it.

        Raises FileNotFoundError or IsADirectoryError.
        """
        del start
        with self._lock:
            found = self._find(path)
            size = int(found.get("size", 0))
            if size == 0 or size >= end:
                return bytes(min(size, end))

            def ranged(files: Any) -> Any:
                request = files.get_media(fileId=found["id"])
                # It may have grown since it was listed.
                request.headers["range"] = f"bytes=0-{end - 1}"
                return request

            data: bytes = self._do(ranged)
            return data[:end]

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a whole object: Drive shows the old bytes until the new ones are all there."""
        from googleapiclient.http import MediaIoBaseUpload  # type: ignore[import-untyped]

        def body() -> Any:
            return MediaIoBaseUpload(io.BytesIO(data), BYTES, resumable=len(data) > SMALL)

        folder, _, name = path.rpartition("/")
        with self._lock:
            # What is written into a folder that has been taken out of the share, nobody would see.
            self._known.clear()
            above = self._make_folder(folder)
            found = [one for one in self._named(path) if one["mimeType"] != FOLDER]
            mine = next((one for one in found if one["ownedByMe"]), None)
            if mine is not None:
                self._do(lambda files: files.update(fileId=mine["id"], media_body=body()))
                self._written[path] = mine["id"]
            else:
                facts = {"id": self._new_id(), "name": name, "parents": [above]}
                self._create(lambda files: files.create(body=facts, media_body=body()))
                self._written[path] = str(facts["id"])
            # Another's of this name could say that it is newer, for ever.
            for one in found:
                if not one["ownedByMe"]:
                    with contextlib.suppress(PermissionError):
                        self._remove(one)

    def rm(self, path: str, recursive: bool = True) -> None:
        """Delete an object or folder. Raises FileNotFoundError if there is none."""
        del recursive
        with self._lock:
            self._known.clear()
            found = self._named(path)
            for written in [one for one in self._written if f"{one}/".startswith(f"{path}/")]:
                del self._written[written]
            if not found:
                raise FileNotFoundError
            for one in found:
                self._remove(one)

    # -- parts -----------------------------------------------------------------------------------

    def _remove(self, one: Facts) -> None:
        with contextlib.suppress(FileNotFoundError):
            if one["ownedByMe"]:
                self._do(lambda files: files.delete(fileId=one["id"]))
            else:
                # Its owner keeps it, out of the share.
                out = ",".join(one["parents"])
                self._do(lambda files: files.update(fileId=one["id"], removeParents=out))

    def _find(self, path: str) -> Facts:
        """The newest file of this path. Raises FileNotFoundError or IsADirectoryError."""
        named = self._named(path)
        for one in named:
            if one["mimeType"] != FOLDER:
                return one
        raise IsADirectoryError if named else FileNotFoundError

    def _named(self, path: str) -> list[Facts]:
        """All of this path, the newest first; what was just written may not be listed yet."""
        folder, _, name = path.rpartition("/")
        try:
            within = self._folders(folder)
        except FileNotFoundError:
            return []
        found = self._children(within, name)
        written = self._written.get(path)
        if written is not None and written not in {one["id"] for one in found}:
            with contextlib.suppress(FileNotFoundError):
                one = self._do(lambda files: files.get(fileId=written, fields=FACTS))
                # Another party may have taken it out of the folder: then it is not there.
                if not one.get("trashed") and set(one.get("parents", [])) & set(within):
                    return [one, *found]
            del self._written[path]
        return found

    def _folders(self, path: str) -> list[str]:
        """Ids of the folders of this path, the oldest first. Raises FileNotFoundError."""
        if not path:
            return [self._share]
        seen, known = self._known.get(path, (0.0, []))
        if known and time.monotonic() - seen < KNOWN_SECONDS:
            return known
        above, _, name = path.rpartition("/")
        found = [
            one for one in self._children(self._folders(above), name) if one["mimeType"] == FOLDER
        ]
        if not found:
            raise FileNotFoundError
        found.sort(key=lambda one: (one["createdTime"], one["id"]))
        self._known[path] = time.monotonic(), [one["id"] for one in found]
        return self._known[path][1]

    def _make_folder(self, path: str) -> str:
        """Id of a folder, made with those above it where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self._folders(path)[0]
        above, _, name = path.rpartition("/")
        made = self._new_id()
        parents = [self._make_folder(above)]
        facts = {"id": made, "name": name, "mimeType": FOLDER, "parents": parents}
        self._create(lambda files: files.create(body=facts))
        self._known[path] = time.monotonic(), [made]
        return made

    def _create(self, ask: Callable[[Any], Any]) -> None:
        """Make a file of an id that was ours before: once, however often it is asked for."""
        with contextlib.suppress(FileExistsError):
            self._do(ask)

    def _new_id(self) -> str:
        if not self._ids:
            self._ids = list(self._do(lambda files: files.generateIds(count=100))["ids"])
        return str(self._ids.pop())

    def _children(self, folders: list[str], name: str | None = None) -> list[Facts]:
        """What lies in folders, of one name or all, the newest first; of very many, not all."""
        parents = " or ".join(f"{_quoted(one)} in parents" for one in folders[:MOST_TWINS])
        asked = f"({parents}) and trashed = false"
        pages, size = MOST_PAGES, PAGE
        if name is not None:
            asked += f" and name = {_quoted(name)}"
            pages, size = 1, 4 * MOST_TWINS
        found: list[Facts] = []
        page: Facts = {}

        def next_page(files: Any) -> Any:
            return files.list(
                q=asked,
                fields=f"nextPageToken,files({FACTS})",
                orderBy="modifiedTime desc",
                pageSize=size,
                pageToken=page.get("nextPageToken"),
            )

        for _ in range(pages):
            page = self._do(next_page)
            found += page.get("files", [])
            if not page.get("nextPageToken"):
                break
        # Drive compares names without regard to case; paths do not.
        return [one for one in found if name is None or one["name"] == name]

    def _do(self, ask: Callable[[Any], Any]) -> Any:
        """Ask, again where Drive says so.

        Raises FileNotFoundError, FileExistsError, PermissionError, TransportError where Drive
        wants us to wait, or Google's HttpError.
        """
        from googleapiclient.errors import HttpError  # type: ignore[import-untyped]
        from syft.sync.connections.drive.gdrive_retry import is_retryable_error

        for attempt in range(1, ATTEMPTS + 1):
            if self._closed:
                raise TimeoutError("this call was given up")
            try:
                return ask(self._service.files()).execute()
            except Exception as error:
                if attempt < ATTEMPTS and is_retryable_error(error):
                    time.sleep(PAUSE * attempt)
                    continue
                if isinstance(error, HttpError):
                    raise _in_our_words(error) from error
                raise
        raise AssertionError


def _in_our_words(error: Any) -> Exception:
    """What an answer of Drive means; the answer itself where nothing special."""
    details = error.error_details if isinstance(error.error_details, list) else []
    reasons = {one.get("reason") for one in details if isinstance(one, dict)}
    if error.status_code == 404:
        return FileNotFoundError()
    if error.status_code == 409:
        return FileExistsError()
    if error.status_code == 403 and reasons & _NOT_ALLOWED:
        return PermissionError()
    if error.status_code in (403, 429):
        return TransportError(
            "Google Drive refused for now: too many requests, or its storage is full; the next "
            "exchange tries again"
        )
    return error  # type: ignore[no-any-return]


def _is_plain(name: str) -> bool:
    """Whether a name can be part of a path; Drive would take any."""
    return not any(char in "/\\" or ord(char) < 32 for char in name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
