"""A folder of Google Drive as a share: PySyft's own connection to Drive, not its ledger of peers.

PySyft signs in, retries and speaks with Drive. It would also keep peers and their keys there, where
each of them could change them; ToyFed puts its sealed and signed messages there, as into any other
share, and keeps keys and peers at home.

Drive differs from a disk: names may be there twice, listings may lag behind, only an owner can
delete. So a path is looked up part by part, several folders of one name count as one, of several
files the newest counts, and what is another's is taken out of the folder instead of deleted.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasites.errors import SettingsError, TransportError
from datasites.private import check_private_file

__all__ = ["DriveFolder", "open_drive"]

FOLDER = "application/vnd.google-apps.folder"
BYTES = "application/octet-stream"
FACTS = "id,name,mimeType,size,createdTime,modifiedTime,parents"
KNOWN_SECONDS = 60.0
"""So long readers take a folder's place as known: another party may make a second of its name."""
SMALL = 4 << 20
"""Up to so many bytes go in one request; Drive wants more to be sent so that it can be resumed."""
PAGE = 1000

Facts = dict[str, Any]


def open_drive(folder: str, options: dict[str, Any], timeout: int) -> DriveFolder:
    """Sign in and open one folder.

    Args:
        folder: the folder's id, as its web address shows it.
        options: `token_file`, PySyft's token of an authorized user, readable by its owner alone;
            `api_endpoint`, a stand-in for Google's server.
        timeout: seconds that the server may be silent.

    Raises: TransportError if there is no usable token.
    """
    from google.oauth2.credentials import Credentials
    from google_auth_httplib2 import AuthorizedHttp  # type: ignore[import-untyped]
    from googleapiclient.discovery import build_from_document  # type: ignore[import-untyped]
    from googleapiclient.discovery_cache import get_static_doc  # type: ignore[import-untyped]
    from googleapiclient.http import build_http  # type: ignore[import-untyped]
    from syft.sync.connections.drive.gdrive_transport import SCOPES, build_drive_service

    file = Path(str(options.get("token_file", "no-token"))).expanduser()
    try:
        check_private_file(file)
        signed_in = Credentials.from_authorized_user_file(  # type: ignore[no-untyped-call]
            str(file), SCOPES
        )
    except (SettingsError, OSError, ValueError, TypeError, AttributeError):
        # Their words would quote the file.
        raise TransportError(
            "expected token_file in the share's options to name a token that PySyft made for "
            "Google Drive, found none; see docs/distance.md"
        ) from None
    if "api_endpoint" not in options:
        return DriveFolder(build_drive_service(signed_in, timeout), folder)
    document = json.loads(get_static_doc("drive", "v3"))
    document["rootUrl"] = options["api_endpoint"].rstrip("/") + "/"
    http = build_http()
    http.timeout = timeout
    return DriveFolder(
        build_from_document(document, http=AuthorizedHttp(signed_in, http=http)), folder
    )


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
                for one in self._children(self._folders(path))
            }
            return list(rows.values())

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """Read an object; one of `end` bytes or more as so many zeros, before reading it.

        Raises FileNotFoundError or IsADirectoryError.
        """
        del start
        with self._lock:
            found = self._find(path)
            if found is None:
                raise FileNotFoundError
            if found["mimeType"] == FOLDER:
                raise IsADirectoryError
            size = int(found.get("size", 0))
            if size == 0 or size >= end:
                return bytes(min(size, end))
            return self._read(found["id"])[:end]

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a whole object: Drive shows the old bytes until the new ones are all there."""
        from googleapiclient.http import MediaIoBaseUpload

        folder, _, name = path.rpartition("/")
        with self._lock:
            # What is written into a folder that has been taken out of the share, nobody would see.
            self._known.clear()
            found = self._find(path)
            body = MediaIoBaseUpload(io.BytesIO(data), BYTES, resumable=len(data) > SMALL)
            if found is not None and found["mimeType"] != FOLDER:
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    self._do(self._files().update(fileId=found["id"], media_body=body, fields="id"))
                    return
            facts = {"name": name, "parents": [self._make_folder(folder)]}
            made = self._do(self._files().create(body=facts, media_body=body, fields="id"))
            self._written[path] = made["id"]

    def rm(self, path: str, recursive: bool = True) -> None:
        """Delete an object or folder. Raises FileNotFoundError if there is none."""
        del recursive
        folder, _, name = path.rpartition("/")
        with self._lock:
            within = f"{path}/"
            for known in [one for one in self._known if f"{one}/".startswith(within)]:
                del self._known[known]
            written = self._written.pop(path, None)
            found = {one["id"]: one for one in self._children(self._folders(folder), name)}
            if not found and written is None:
                raise FileNotFoundError
            for one in found or [written]:
                self._remove(str(one), found.get(str(one), {}).get("parents", []))

    # -- parts -----------------------------------------------------------------------------------

    def _files(self) -> Any:
        return self._service.files()

    def _remove(self, one: str, parents: list[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            try:
                self._do(self._files().delete(fileId=one))
            except PermissionError:
                # Another's: its owner keeps it, out of the share.
                out = ",".join(parents)
                self._do(self._files().update(fileId=one, removeParents=out, fields="id"))

    def _find(self, path: str) -> Facts | None:
        """The newest of a path's name; what was just written may not be listed yet."""
        folder, _, name = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError):
            for one in reversed(list(self._children(self._folders(folder), name))):
                return one
        if path in self._written:
            with contextlib.suppress(FileNotFoundError):
                found: Facts = self._do(
                    self._files().get(fileId=self._written[path], fields=f"{FACTS},trashed")
                )
                if not found.get("trashed"):
                    return found
            del self._written[path]
        return None

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
        facts = {"name": name, "mimeType": FOLDER, "parents": [self._make_folder(above)]}
        made = self._do(self._files().create(body=facts, fields="id"))
        self._known[path] = time.monotonic(), [made["id"]]
        return str(made["id"])

    def _children(self, folders: list[str], name: str | None = None) -> Iterator[Facts]:
        """What lies in folders, of one name or all, the newest last."""
        found: list[Facts] = []
        for folder in folders:
            asked = f"{_quoted(folder)} in parents and trashed = false"
            if name is not None:
                asked += f" and name = {_quoted(name)}"
            page: Facts = {}
            while not page or page.get("nextPageToken"):
                page = self._do(
                    self._files().list(
                        q=asked,
                        fields=f"nextPageToken,files({FACTS})",
                        pageSize=PAGE,
                        pageToken=page.get("nextPageToken"),
                    )
                )
                found += page.get("files", [])
        found.sort(key=lambda one: (one["modifiedTime"], one["id"]))
        # Drive compares names without regard to case; paths do not.
        return (one for one in found if name is None or one["name"] == name)

    def _read(self, one: str) -> bytes:
        found: bytes = self._do(self._files().get_media(fileId=one))
        return found

    def _do(self, request: Any) -> Any:
        """Ask, again where Drive says so.

        Raises FileNotFoundError, PermissionError, or Google's HttpError.
        """
        from googleapiclient.errors import HttpError  # type: ignore[import-untyped]
        from syft.sync.connections.drive.gdrive_retry import execute_with_retries

        try:
            return execute_with_retries(request)
        except HttpError as error:
            if error.status_code == 404:
                self._known.clear()
                raise FileNotFoundError from error
            if error.status_code == 403:
                raise PermissionError from error
            raise


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
