"""Shares that are servers: S3, SFTP, WebDAV and Drive, each with its one safe way to put and get.

SFTP goes through `sshfs` (asyncssh), which renames over an existing file in one step and keeps one
connection; fsspec's own driver needs paramiko and cannot. Every call ends within a bounded time.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from datasites.errors import TransportError
from datasites.share_options import kind_of
from datasites.syftbox.drive_sign_in import open_drive

__all__ = ["FarShare", "advice"]

T = TypeVar("T")

_CONNECT_SECONDS = 10
_SILENT_SECONDS = 30
_CALL_SECONDS = 60.0
_SLOWEST = 100_000  # bytes/s that a large object may take its time for
_TEMPORARY = ".tmp-"


class FarShare:
    """One folder of a server. Safe to use from threads and after fork.

    After any failure the next call begins with a new connection: a broken one would fail for ever.

    Args:
        share: s3://bucket/folder, sftp://user@host/folder, webdavs://host/folder,
            gdrive://folder-id/folder.
        options: What `datasites.share_options.read_options` found.
    """

    def __init__(self, share: str, options: dict[str, Any]) -> None:
        self._share, self._options = share, options
        self.kind = kind_of(share)
        self._lock = threading.Lock()
        self._made: set[str] = set()
        self._fs: Any = None
        self._pid = 0
        where = urlsplit(share)
        self._root = {
            "s3": f"{where.netloc}{where.path}".rstrip("/"),
            "sftp": unquote(where.path).rstrip("/"),
            "webdav": "",
            "gdrive": unquote(where.path).strip("/"),
        }[self.kind]

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object; a rename on the server puts it in place."""
        self._call(lambda fs: self._put(fs, key, data), len(data))

    def get(self, key: str, limit: int) -> bytes | None:
        """At most `limit` + 1 bytes of an object; None if there is none."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            return self._call(lambda fs: self._get(fs, self._path(key), limit), limit)
        return None

    def rows(self, folder: str) -> list[dict[str, Any]]:
        """What lies right below a folder. Raises FileNotFoundError if there is none."""
        path = self._path(folder)

        def listed(fs: Any) -> list[dict[str, Any]]:
            own = path.strip("/")
            # A bucket lists an object, or a marker of a folder, as being below itself.
            return [row for row in fs.ls(path, detail=True) if row["name"].strip("/") != own]

        return self._call(listed)

    def delete(self, key: str) -> None:
        """Remove an object or folder. Raises FileNotFoundError if there is none."""
        self._made = {one for one in self._made if one != key and not one.startswith(f"{key}/")}
        path = self._path(key)
        self._call(
            lambda fs: fs.rm_file(path) if self.kind == "webdav" else fs.rm(path, recursive=True)
        )

    # -- parts -----------------------------------------------------------------------------------

    def _put(self, fs: Any, key: str, data: bytes) -> None:
        if self.kind in ("s3", "gdrive"):
            fs.pipe_file(self._path(key), data)
            return
        folder = key.rpartition("/")[0]
        if folder and folder not in self._made:
            fs.makedirs(self._path(folder), exist_ok=True)
            self._made.add(folder)
        temporary = self._path(f"{folder}/{_TEMPORARY}{uuid.uuid4().hex}".lstrip("/"))
        try:
            if self.kind == "sftp":
                with fs.open(temporary, "wb") as file:
                    file.write(data)
                fs.mv(temporary, self._path(key))
            else:
                fs.client.upload_fileobj(
                    io.BytesIO(data), temporary, overwrite=True, size=len(data)
                )
                fs.client.move(temporary, self._path(key), overwrite=True)
        except BaseException:
            self._made.discard(folder)
            with contextlib.suppress(Exception):
                fs.rm_file(temporary)
            raise

    def _get(self, fs: Any, path: str, limit: int) -> bytes:
        if self.kind in ("s3", "gdrive"):
            try:
                # One ranged request, where asking for the size first would be two.
                found: bytes = fs.cat_file(path, start=0, end=limit + 1)
            except OSError as error:
                if "InvalidRange" in f"{error.__cause__}":
                    return b""  # an empty object has no range
                raise
            return found
        facts = fs.info(path)
        if facts["type"] != "file":
            raise IsADirectoryError
        if int(facts["size"] or 0) == 0:
            return b""
        if int(facts["size"]) > limit:
            return bytes(limit + 1)
        known = {"size": int(facts["size"])} if self.kind == "webdav" else {}
        try:
            with fs.open(path, "rb", **known) as file:
                data: bytes = file.read(limit + 1)
        except Exception as error:
            if _status(error) == 404:
                # Gone since it was looked at: as if it had not been there.
                raise FileNotFoundError from error
            raise
        return data

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/") if self._root or self.kind == "sftp" else key

    def _call(self, do: Callable[[Any], T], size: int = 0) -> T:
        """Do something in a thread of its own, and wait for it no longer than is reasonable."""
        found: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                found.append(do(self._connected()))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True, name="toyfed-share")
        thread.start()
        thread.join(_CALL_SECONDS + size / _SLOWEST)
        if found:
            return found[0]
        error = failed[0] if failed else TimeoutError("no answer in time")
        if not isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
            # Without the lock: who is still connecting in vain may hold it.
            given_up, self._fs = self._fs, None
            if self.kind == "gdrive" and given_up is not None:
                given_up.close()
            if self.kind == "webdav" and given_up is not None:
                given_up.client.http.close()  # or its sockets stay until they are collected
        raise error

    def _connected(self) -> Any:
        with self._lock:
            if self._fs is None or self._pid != os.getpid():
                self._fs, self._pid = _open(self.kind, self._share, self._options), os.getpid()
                self._made.clear()
            return self._fs


def _open(kind: str, share: str, options: dict[str, Any]) -> Any:
    where = urlsplit(share)
    try:
        if kind == "s3":
            return _s3(options)
        if kind == "sftp":
            return _sftp(where, options)
        if kind == "gdrive":
            return open_drive(where.netloc, options, _SILENT_SECONDS)
        return _webdav(where, options)
    except ImportError as error:
        raise TransportError(
            f"expected the driver for {kind} shares, found none installed. "
            f"Install it with  pip install 'toyfed[{kind}]'"
        ) from error


def _s3(options: dict[str, Any]) -> Any:
    from s3fs import S3FileSystem  # type: ignore[import-untyped]

    client = {"region_name": options["region"]} if "region" in options else {}
    signs = {
        name: options[name] for name in ("key", "secret", "token", "profile") if name in options
    }
    return S3FileSystem(
        **signs,
        endpoint_url=options.get("endpoint_url"),
        client_kwargs=client,
        config_kwargs={
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _SILENT_SECONDS,
            "retries": {"max_attempts": 2},
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _sftp(where: Any, options: dict[str, Any]) -> Any:
    from sshfs import SSHFileSystem  # type: ignore[import-untyped]

    signs: dict[str, Any] = {n: options[n] for n in ("password", "agent_path") if n in options}
    if "client_keys" in options:
        keys = options["client_keys"]
        signs["client_keys"] = [keys] if isinstance(keys, str) else keys
    if user := options.get("username") or where.username:
        signs["username"] = user
    # Said outright: without it sshfs would take any server's key. () is the user's known_hosts.
    known: Any = options.get("known_hosts", ())
    return SSHFileSystem(
        where.hostname,
        port=where.port or 22,
        **signs,
        known_hosts=str(Path(known).expanduser()) if isinstance(known, str) else known,
        config=None,
        connect_timeout=_CONNECT_SECONDS,
        login_timeout=_SILENT_SECONDS,
        keepalive_interval=_CONNECT_SECONDS,
        keepalive_count_max=3,
        timeout=_SILENT_SECONDS + _CONNECT_SECONDS,
        skip_instance_cache=True,
    )


def _webdav(where: Any, options: dict[str, Any]) -> Any:
    import httpx
    from webdav4.fsspec import WebdavFileSystem  # type: ignore[import-untyped]

    signs: Any = None
    if user := options.get("username") or where.username:
        signs = (user, options.get("password", ""))
    elif (netrc := Path("~/.netrc").expanduser()).exists():
        signs = httpx.NetRCAuth(str(netrc))
    port = f":{where.port}" if where.port else ""
    host = f"[{where.hostname}]" if ":" in str(where.hostname) else where.hostname
    secure = where.scheme == "webdavs"
    return WebdavFileSystem(
        f"{'https' if secure else 'http'}://{host}{port}{where.path}",
        auth=signs,
        timeout=httpx.Timeout(_SILENT_SECONDS, connect=_CONNECT_SECONDS),
        # A server may not send us, and our password, somewhere else.
        follow_redirects=False,
        retry=False,
        skip_instance_cache=True,
        **({"verify": options["ca_file"]} if "ca_file" in options else {}),
    )


_ADVICE = {
    "HostKeyNotVerifiable": "the server's host key is unknown or has changed. Compare it with its "
    "owner, then put it in known_hosts",
    "PermissionDenied": "the server refused to sign you in. Check user and key, or password",
    "NoCredentialsError": "no sign-in was found. Set AWS_PROFILE, or use --share-options",
    "RefreshError": "Google takes the token no longer. Let PySyft make a new one",
    "ServerNotFoundError": "the server cannot be reached. Check network and address",
    "ProfileNotFound": "that AWS profile does not exist. Check its name",
    "PermissionError": "access was denied. Check the policy, or the folder's rights",
    "ForbiddenOperation": "access was denied. Check the policy, or the folder's rights",
    "FileNotFoundError": "there is no such bucket or folder. Make it, or check the address",
    "ResourceNotFound": "there is no such folder. Make it, or check the address",
    "ResourceConflict": "there is no such folder. Make it, or check the address",
}


def advice(error: BaseException) -> str:
    """What is probably wrong, in words; '' if nobody can tell. No address, no sign-in."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    # The driver's own error, further down, says more than what it was turned into.
    for one in reversed(chain):
        for kind in type(one).__mro__:
            if kind.__name__ in _ADVICE:
                return _ADVICE[kind.__name__]
        if _status(one) in (401, 403):
            return _ADVICE["PermissionDenied"]
    if any(isinstance(one, ConnectionError | TimeoutError) or _connects(one) for one in chain):
        return "the server cannot be reached or does not answer. Check network and address"
    return ""


def _connects(error: BaseException) -> bool:
    return "Connect" in type(error).__name__


def _status(error: BaseException) -> int:
    """The HTTP status that an error tells of; 0 if none."""
    answer = getattr(error, "response", None)
    found = getattr(error, "status_code", getattr(answer, "status_code", 0))
    return found if isinstance(found, int) else 0
