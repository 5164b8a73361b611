"""Named files as one parcel: the same bytes for the same files, and a sha256 to name them by."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from datasites.errors import SettingsError, TransportError
from datasites.syftbox.names import PARCEL_BYTES, check_file_name

__all__ = ["open_parcel", "pack_parcel", "parcel_sha256", "unpack_into"]

_MAGIC = b"toyfed parcel 1\n"
_HEAD_BYTES = 256 * 1024


def pack_parcel(files: dict[str, bytes], facts: dict[str, Any] | None = None) -> bytes:
    """Pack files under plain names. Raises ReviewError for another name.

    Raises SettingsError if there is more than a parcel may hold: no second try heals that.
    """
    names = [[check_file_name(name), len(data)] for name, data in sorted(files.items())]
    head = json.dumps({"facts": facts or {}, "files": names}, sort_keys=True).encode()
    parcel = b"".join(
        [_MAGIC, len(head).to_bytes(8, "big"), head, *(files[str(name)] for name, _ in names)]
    )
    if len(head) > _HEAD_BYTES:
        raise SettingsError("expected fewer files or shorter facts to publish")
    # Encryption adds a little, and the reader's limit counts it.
    if len(parcel) > PARCEL_BYTES - 1024 * 1024:
        raise SettingsError(
            f"expected at most {PARCEL_BYTES >> 20} MB to publish, found {len(parcel) >> 20} MB. "
            "Use fewer factors or arrays, or a smaller catalogue"
        )
    return parcel


def parcel_sha256(parcel: bytes) -> str:
    """Hex sha256 of a packed parcel."""
    return hashlib.sha256(parcel).hexdigest()


def open_parcel(parcel: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return a parcel's files and facts. Raises TransportError if it is damaged."""
    try:
        if not parcel.startswith(_MAGIC):
            raise ValueError("another kind of file")
        at = len(_MAGIC) + 8
        length = int.from_bytes(parcel[at - 8 : at], "big")
        if length > _HEAD_BYTES:
            raise ValueError("a head too long")
        head = json.loads(parcel[at : at + length])
        at += length
        files: dict[str, bytes] = {}
        for name, size in head["files"]:
            if type(size) is not int or not 0 <= size <= len(parcel) - at or name in files:
                raise ValueError("sizes do not add up")
            files[check_file_name(name)] = parcel[at : at + size]
            at += size
        facts = head["facts"]
        if at != len(parcel) or not isinstance(facts, dict):
            raise ValueError("sizes do not add up")
    except Exception as error:
        raise TransportError("a parcel from the share is damaged; ask for it again") from error
    return files, facts


def unpack_into(files: dict[str, bytes], folder: Path) -> Path:
    """Write files as the whole contents of `folder`, which appears complete or not at all."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    draft.mkdir(mode=0o700)
    try:
        for name, data in files.items():
            (draft / check_file_name(name)).write_bytes(data)
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder
