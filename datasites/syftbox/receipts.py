"""Receipts: what a reader signs to tell a merchant which of its messages it has read.

Plain files in the share would do, if only the reader could write them. Whoever else can write
there could make a merchant forget answers that nobody has read. So a receipt is encrypted to the
merchant, signed by the reader, and names single messages: it holds no clock to be set forward.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasites.errors import ReviewError
from datasites.syftbox.names import RECEIPT_BYTES, quoted
from recsys.files import atomic_write_text

__all__ = ["ReadMarks", "Receipt", "open_receipt", "pack_receipt"]

_KIND = "toyfed receipt 1"
_MOST_NAMES = 1000


@dataclass(frozen=True)
class Receipt:
    """Names of messages in an outbox: those read, and those that were not what was signed."""

    read: frozenset[str] = frozenset()
    spoiled: frozenset[str] = frozenset()


class ReadMarks:
    """A reader's memory of what it read in each merchant's outbox, one small file for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, merchant: str) -> Receipt:
        """What was read and still lies there; nothing if the memory is lost.

        Messages that are read again change nothing, for an answer is taken once.
        """
        try:
            marks = json.loads(self._file(merchant).read_text())
            return Receipt(frozenset(marks["read"]), frozenset(marks["spoiled"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return Receipt()

    def write(self, merchant: str, marks: Receipt) -> None:
        """Remember what was read."""
        text = json.dumps({"read": sorted(marks.read), "spoiled": sorted(marks.spoiled)})
        atomic_write_text(self._file(merchant), text, mode=0o600)

    def _file(self, merchant: str) -> Path:
        return self._folder / f"{quoted(merchant)}.json"


def pack_receipt(reader: str, merchant: str, receipt: Receipt) -> bytes:
    """A receipt as bytes, still to be encrypted to the merchant."""
    # The rest is named by the next one: the merchant clears away what this one names.
    facts = {
        "kind": _KIND,
        "from": reader,
        "to": merchant,
        "read": sorted(receipt.read)[:_MOST_NAMES],
        "spoiled": sorted(receipt.spoiled)[:_MOST_NAMES],
    }
    return json.dumps(facts, sort_keys=True).encode()


def open_receipt(
    data: bytes, reader: str, merchant: str, open_envelope: Callable[[bytes], bytes]
) -> Receipt:
    """Check a receipt from the share. Raises ReviewError for one that is not this reader's."""
    plain = open_envelope(data)
    try:
        facts: dict[str, Any] = json.loads(plain) if len(plain) <= RECEIPT_BYTES else {}
        parties = (facts["kind"], facts["from"], facts["to"])
        read, spoiled = facts["read"], facts["spoiled"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReviewError("expected a receipt, found something else") from error
    if parties != (_KIND, reader, merchant) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in (read, spoiled)
    ):
        raise ReviewError("expected a receipt for this merchant, found another message")
    return Receipt(frozenset(read), frozenset(spoiled))
