"""One line of the ledger as text, and the hash that ties it to the line before."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datasites.errors import LedgerError, ReviewError

__all__ = [
    "GENESIS",
    "Entry",
    "canonical",
    "chain_hash",
    "check_name",
    "check_sha256",
    "plain",
    "read_record",
    "timestamp",
    "write_record",
]

GENESIS = "0" * 64
"""The 'hash before' of the first entry."""

_DEPTH_LIMIT = 16
_NAME_LIMIT = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"at", "body", "kind", "note", "seq", "study"}


@dataclass(frozen=True)
class Entry:
    """One verified line of the ledger; `seq` is the order, `at` only what the clock said.

    `note` marks lines that book nothing and only tell the merchant what happened.
    """

    seq: int
    at: str
    kind: str
    study: str
    body: dict[str, Any]
    hash: str
    note: bool = False


def canonical(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, ASCII only, finite numbers."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def chain_hash(previous: str, record: str) -> str:
    """sha256(previous hash, newline, record text) in hexadecimal."""
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()


def write_record(entry: Entry) -> str:
    """The text that is stored and hashed for `entry` (all but its hash)."""
    return canonical(
        {
            "at": entry.at,
            "body": entry.body,
            "kind": entry.kind,
            "note": entry.note,
            "seq": entry.seq,
            "study": entry.study,
        }
    )


def read_record(seq: int, previous: str, record: object, digest: object) -> Entry:
    """The entry that must stand at `seq` after the hash `previous`.

    Raises: LedgerError if the text or its hash is not what was written.
    """
    if (
        not isinstance(record, str)
        or not isinstance(digest, str)
        or chain_hash(previous, record) != digest
    ):
        raise LedgerError(
            f"Entry {seq} of the ledger was changed after it was written: its hash does not fit. "
            "Nothing runs until the newest good copy of the ledger is put back."
        )
    try:
        fields = json.loads(record)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != _FIELDS or fields["seq"] != seq:
        raise LedgerError(f"Entry {seq} of the ledger is not an entry of this kind of ledger.")
    return Entry(hash=digest, **fields)


def timestamp(moment: datetime) -> str:
    """UTC with microseconds and a Z, always as wide, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def check_name(what: str, value: object) -> str:
    """`value` if it is a short printable text; control characters could forge a terminal's lines.

    Raises: ReviewError.
    """
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _NAME_LIMIT:
        raise ReviewError(f"Expected {what} of 1 to {_NAME_LIMIT} printable characters.")
    return value


def check_sha256(what: str, value: object) -> str:
    """`value` if it is a sha256 in lower-case hexadecimal.

    Raises: ReviewError.
    """
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ReviewError(f"Expected {what} as 64 hexadecimal digits.")
    return value


def plain(
    what: str, value: Mapping[str, Any], limit: int, text_limit: int | None = None
) -> dict[str, Any]:
    """A copy of `value` made of plain JSON, not deeper than 16 levels, at most `limit` characters.

    Texts longer than `text_limit`, where given, are cut. The depth is bounded because JSON that can
    be written but not read back would lock the ledger.

    Raises: ReviewError.
    """
    try:
        copy = _plain(value, _DEPTH_LIMIT, text_limit)
        size = len(canonical(copy))
    except (TypeError, ValueError) as error:
        raise ReviewError(
            f"Expected {what} as plain JSON (texts, finite numbers, lists, tables with text keys; "
            f"{_DEPTH_LIMIT} levels at most)."
        ) from error
    if not isinstance(copy, dict) or size > limit:
        raise ReviewError(f"Expected {what} as a table of at most {limit} characters, got {size}.")
    return copy


def _plain(value: object, levels: int, text_limit: int | None) -> object:
    if levels == 0:
        raise ValueError("too deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)[:text_limit]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("not finite")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(part, levels - 1, text_limit) for part in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): _plain(part, levels - 1, text_limit) for key, part in value.items()}
    raise TypeError("not plain JSON")
