"""The ledger as a text file that anybody can check without the database.

One JSON line `{"hash": ..., "record": {...}}` per entry. Each hash is sha256(hash before, newline,
canonical record); the first has 64 zeros before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from datasites.errors import LedgerError
from datasites.merchant.ledger.books import Books
from datasites.merchant.ledger.records import Entry, canonical, read_record, write_record

__all__ = ["export_text", "verify_export"]


def export_text(entries: Iterable[Entry]) -> str:
    """Entries as the lines of an export."""
    return "".join(
        f'{{"hash":{canonical(entry.hash)},"record":{write_record(entry)}}}\n' for entry in entries
    )


def verify_export(path: Path) -> Books:
    """Check an export from its first entry to its last, and return what it adds up to.

    An export that was cut at its end still verifies: compare number and hash of its last entry
    with the ledger's.

    Raises: LedgerError that names the first line that is not in order.
    """
    books, number = Books(), 0
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                fields = json.loads(line)
                if set(fields) != {"hash", "record"}:
                    raise ValueError("other fields")
                record = canonical(fields["record"])
                books.apply(read_record(number, books.hash, record, fields["hash"]))
    except OSError as error:
        raise LedgerError(
            f"Expected an exported ledger at {path}, found none to read ({error.strerror})."
        ) from error
    except LedgerError as error:
        raise LedgerError(f"Line {number} of the export does not verify: {error}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LedgerError(
            f"Line {max(1, number)} of {Path(path).name} is not a line of an exported ledger. "
            "Expected the file as `toyfed datasite ledger export` wrote it."
        ) from error
    if books.seq == 0:
        raise LedgerError(f"{Path(path).name} is empty: expected an exported ledger.")
    return books
