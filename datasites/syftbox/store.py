"""Named bytes in the share: one small layer over fsspec that knows nothing of PySyft."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.dirfs import DirFileSystem

from datasites.errors import TransportError
from datasites.share_options import check_address, kind_of
from datasites.syftbox.drivers import FarShare, advice
from recsys.files import sweep_leftovers

__all__ = ["Entry", "ObjectStore", "OversizeError", "check_key"]

# A put is atomic there already, and a rename would be a copy.
_ATOMIC_PUT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az"})
_TEMPORARY = ".tmp-"
_STALE_SECONDS = 3600.0

Entry = tuple[str, int]  # (name, bytes)


class OversizeError(TransportError):
    """Something in the share is larger than what may be read into memory."""


def check_key(key: str) -> str:
    """Return `key` if it stays below the share's root. Raises TransportError otherwise."""
    parts = key.split("/")
    if not all(part and part not in (".", "..") and "\\" not in part for part in parts) or any(
        ord(char) < 32 for char in key
    ):
        raise TransportError(
            f"expected a relative key such as 'a@b.org/version.json', found {key[:120]!r}"
        )
    return key


class ObjectStore:
    """Whole objects under relative keys; readers see the old object or the new one, never a half.

    Args:
        share: fsspec URL or a local path.
        filesystem: A ready fsspec filesystem whose root is the share (then `share` only names it).
        options: How to sign in, as `datasites.share_options.read_options` returns it.
    """

    def __init__(
        self, share: str, filesystem: Any = None, options: dict[str, Any] | None = None
    ) -> None:
        self._was_there = False
        self._marker = ""
        self._far: FarShare | None = None
        if filesystem is None:
            check_address(str(share))
            if kind_of(str(share)):
                # Connects when it is first used, and again after each failure.
                self._far, self._local = FarShare(str(share), options or {}), False
                self.address = share
                return
        try:
            if filesystem is None:
                share = str(share)
                if "://" not in share:
                    share = str(Path(share).expanduser().resolve())
                inner, root = fsspec.core.url_to_fs(share, use_listings_cache=False)
                filesystem = DirFileSystem(path=root, fs=inner)
            else:
                inner = getattr(filesystem, "fs", filesystem)
        except Exception as error:
            raise TransportError(
                f"expected the share as a folder or an fsspec URL: {type(error).__name__}. "
                "Check its address, and that its fsspec driver is installed"
            ) from error
        self._fs = filesystem
        protocol = inner.protocol if isinstance(inner.protocol, str) else inner.protocol[0]
        self._plain_put = protocol in _ATOMIC_PUT
        self._local = protocol == "file" and isinstance(filesystem, DirFileSystem)
        self.address = share

    def must_be_there(self, marker: str = "") -> None:
        """From now on a share that is a folder is never made anew, nor used while it is empty.

        A share that was unmounted leaves an empty folder, or none. Writing there would look like
        sending, and reading there like nothing having been sent.

        Args:
            marker: An object that this party wrote. On a server `check` looks for it first, which
                is one small request, and for anything at all only if it is gone.
        """
        self._was_there, self._marker = True, marker and check_key(marker)

    def check(self) -> None:
        """Raise TransportError if a share that must be there is not."""
        with self._errors("look"):
            if self._far is None or not self._marker or self._far.get(self._marker, 1) is not None:
                return
            # One party's object may have been deleted by another: that alone stops nobody.
            with contextlib.suppress(FileNotFoundError):
                if self._far.rows(""):
                    return
            raise TransportError(
                "the share cannot be reached: expected what was written there before, found an "
                "empty or missing bucket or folder. Put it back, or restart to begin anew in it"
            )

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an older one in one step."""
        check_key(key)
        with self._errors("write"):
            if self._far is not None:
                self._far.put(key, data)
                return
            if self._plain_put:
                self._fs.pipe_file(key, data)
                return
            folder, _, _ = key.rpartition("/")
            if folder:
                self._fs.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/{_TEMPORARY}{uuid.uuid4().hex}".lstrip("/")
            try:
                self._write(temporary, data)
                self._fs.mv(temporary, key)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(temporary)
                raise

    def get(self, key: str, limit: int) -> bytes | None:
        """Read an object of at most `limit` bytes; None if there is none.

        Raises OversizeError if it is larger, before reading it.
        """
        check_key(key)
        with self._errors("read"):
            if self._far is not None:
                found = self._far.get(key, limit)
                if found is not None and len(found) > limit:
                    raise OversizeError(f"expected at most {limit} bytes, found more")
                return found
            try:
                facts = self._fs.info(key)
                if not _is_plain(facts):
                    return None
                size = int(facts["size"] or 0)
                if size > limit:
                    raise OversizeError(f"expected at most {limit} bytes, found {size}")
                with self._fs.open(key, "rb") as file:
                    data: bytes = file.read(limit + 1)
            except (FileNotFoundError, IsADirectoryError):
                return None
            if len(data) > limit:
                raise OversizeError(f"expected at most {limit} bytes, found more")
            return data

    def files(self, folder: str, at_most: int | None = None) -> list[Entry]:
        """Name and size of the objects right below `folder`, sorted; [] if there is no folder.

        Args:
            at_most: Look at no more than so many, any of them: a folder that others can fill must
                not take all memory. Without it, all.
        """
        rows = self._list(folder, at_most)
        return [(name, size) for name, size, kind in rows if kind == "file"]

    def folders(self, folder: str, at_most: int | None = None) -> list[str]:
        """Names of the folders right below `folder`, sorted; `at_most` as for files."""
        return [name for name, _, kind in self._list(folder, at_most) if kind == "directory"]

    def delete(self, key: str) -> None:
        """Remove an object or a whole folder; nothing happens if there is none."""
        check_key(key)
        with self._errors("delete"), contextlib.suppress(FileNotFoundError):
            if self._far is not None:
                self._far.delete(key)
                return
            self._fs.rm(key, recursive=True)

    def sweep(self, folder: str) -> None:
        """Remove what writers that were killed left in a folder on disk, an hour later.

        Servers are not asked: buckets have no such leftovers, and listing others takes long.
        """
        if self._local and Path(self._fs.path).is_dir():
            check_key(folder)
            sweep_leftovers(Path(self._fs.path) / folder, f"{_TEMPORARY}*", _STALE_SECONDS)

    def _write(self, key: str, data: bytes) -> None:
        with self._fs.open(key, "wb") as file:
            file.write(data)
            file.flush()
            # Only a local file has a descriptor; elsewhere closing is all that can be done.
            with contextlib.suppress(Exception):
                os.fsync(file.fileno())

    def _list(self, folder: str, at_most: int | None = None) -> list[tuple[str, int, str]]:
        if folder:
            check_key(folder)
        with self._errors("list"):
            try:
                rows = self._rows(folder, at_most)
            except (FileNotFoundError, NotADirectoryError):
                return []
        found = []
        for row in rows:
            name = row["name"].rstrip("/").rpartition("/")[2]
            if name and not name.startswith("."):
                kind = str(row["type"]) if not row.get("islink") else "link"
                found.append((name, int(row.get("size") or 0), kind))
        return sorted(found)

    def _rows(self, folder: str, at_most: int | None) -> list[dict[str, Any]]:
        if self._far is not None:
            # Servers hand out whole listings, a page at a time.
            return list(itertools.islice(self._far.rows(folder), at_most))
        if at_most is None:
            return list(self._fs.ls(folder, detail=True))
        if not self._local:
            # Buckets and servers hand out whole listings, a page at a time.
            return list(itertools.islice(self._fs.ls(folder, detail=True), at_most))
        with os.scandir(Path(self._fs.path) / folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, at_most)]
        found = []
        for name in names:
            # Gone meanwhile: as if it had not been there.
            with contextlib.suppress(FileNotFoundError):
                found.append(self._fs.info(f"{folder}/{name}".lstrip("/")))
        return found

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            if self._was_there and self._local:
                self._check_there()
            yield
        except TransportError:
            raise
        except Exception as error:
            why = advice(error) or "Check that it is reachable and that this account may use it"
            raise TransportError(
                f"could not {what} in the share ({type(error).__name__}): {why}; "
                "the next exchange tries again"
            ) from error

    def _check_there(self) -> None:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self._fs.path) as entries,
        ):
            if next(entries, None) is not None:
                return
        raise TransportError(
            "the share cannot be reached: expected the folder that was used before, found none or "
            "an empty one. Mount it again or put it back; the next exchange tries again"
        )


def _is_plain(facts: dict[str, Any]) -> bool:
    """Neither a link nor a pipe: on a shared disk another party can put those in our way."""
    return facts["type"] == "file" and not facts.get("islink")
