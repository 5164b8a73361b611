"""The ledger's files: an SQLite database, the head file that vouches for its end, and a lock.

Writers take turns by the lock file, so that head files are replaced in the order of the entries.
The order within an append is: new head beside the old one and on disk, entry committed, head
renamed. A crash or a full disk before the commit leaves nothing; after it, a head that is one
behind. Every operation opens the database anew: a file that was swapped under a running service
is noticed, and threads and forks share no connection. SQLite's write-ahead log needs a local disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datasites.errors import LedgerError, LedgerWriteError
from datasites.merchant.ledger.records import Entry, canonical, write_record
from recsys.files import atomic_path, atomic_write_text

__all__ = ["Head", "Store"]

_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.005
_PASSING = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_PERM,
    )
)
_SCHEMA = """
CREATE TABLE entries (seq INTEGER PRIMARY KEY, record TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are final'); END;
CREATE TRIGGER entries_stay BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are final'); END;
"""


@dataclass(frozen=True)
class Head:
    """The last entry's number and hash, as the head file has them."""

    seq: int
    hash: str


class Store:
    """Files of one ledger: `ledger.db`, `ledger.head`, `ledger.lock` for the path `ledger.db`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path).resolve()
        self.head_path = self.path.with_suffix(".head")
        self.lock_path = self.path.with_suffix(".lock")

    def create(self, first: Entry) -> None:
        """Make the files with their first entry.

        Raises: LedgerError if there is, or was, a ledger here.
        """
        with self._translated():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(fcntl.LOCK_EX), self._translated():
            if self.path.exists():
                raise LedgerError(f"There is a ledger already at {self.path.name}: open it.")
            # A head at 1 beside no database is a creation that was cut short; any other remains
            # tell of entries, and an old write-ahead log could be replayed into a new database.
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists() or (self.head_path.exists() and self.read_head().seq > 1):
                raise LedgerError(
                    f"{self.path.name} is gone, but its remains show that it had entries. Put it "
                    "back; to start anew, move the remains elsewhere first."
                )
            with atomic_path(self.path, 0o600) as temporary:
                with contextlib.closing(self._connect(temporary)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
                    connection.executescript(_SCHEMA)
                    self._insert(connection, first)
                self.write_head(Head(first.seq, first.hash))
            self._sync_folder()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment; no writer is between its commit and its head."""
        with self._session(fcntl.LOCK_SH) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection for the one writer of the moment; begin a transaction with `begin`."""
        with self._session(fcntl.LOCK_EX) as connection:
            yield connection

    def begin(self, connection: sqlite3.Connection) -> None:
        """Start a transaction that keeps other writers out even if the lock file was removed."""
        connection.execute("BEGIN IMMEDIATE")

    def rows(
        self, connection: sqlite3.Connection, start: int
    ) -> Iterator[tuple[object, object, object]]:
        """(seq, record, hash) from `start` on, in order; with `start` 1 whatever row is first."""
        where = "" if start <= 1 else "WHERE seq >= ?"
        return connection.execute(
            f"SELECT seq, record, hash FROM entries {where} ORDER BY seq",
            () if start <= 1 else (start,),
        )

    def hash_at(self, connection: sqlite3.Connection, seq: int) -> object:
        """The hash of one entry, None if there is none of this number."""
        found = connection.execute("SELECT hash FROM entries WHERE seq = ?", (seq,)).fetchone()
        return found[0] if found else None

    def append(self, connection: sqlite3.Connection, entry: Entry) -> None:
        """Book `entry` and end the transaction.

        Once it is booked nothing is raised: a head that is one behind is mended later, while a
        caller told of an error would take the entry for not booked.

        Raises: LedgerError if nothing was booked.
        """
        booked = False
        try:
            with atomic_path(self.head_path, 0o600) as temporary:
                self._write_through(temporary, _head_text(Head(entry.seq, entry.hash)))
                self._insert(connection, entry)
                connection.execute("COMMIT")
                booked = True
            self._sync_folder()
        except (sqlite3.Error, OSError) as error:
            if not booked:
                raise _kind(error)(
                    f"Nothing was booked: {self.path.name} could not be written "
                    f"({_reason(error)}). Check free space and permissions of its folder, then "
                    "try again."
                ) from error

    def read_head(self) -> Head:
        """What the head file says.

        Raises: LedgerError if it is missing or cannot be read.
        """
        try:
            fields = json.loads(self.head_path.read_text())
            head = Head(fields["seq"], fields["hash"])
            if isinstance(head.seq, int) and isinstance(head.hash, str):
                return head
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        raise LedgerError(
            f"{self.head_path.name} is missing or damaged, so a cut ledger could not be told from "
            "a whole one. Put it back from beside the newest copy of the ledger, or rebuild it if "
            "you know that the ledger is the newest."
        )

    def write_head(self, head: Head) -> None:
        """Replace the head file."""
        atomic_write_text(self.head_path, _head_text(head), 0o600)
        self._sync_folder()

    def sweep(self) -> None:
        """Drop the temporary files of writers that were killed; call it in a writer's turn."""
        for name in (self.path.name, self.head_path.name):
            for leftover in self.path.parent.glob(f".{name}.*.tmp*"):
                leftover.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _session(self, mode: int) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise LedgerError(f"There is no ledger at {self.path.name}: create it first.")
        with (
            self._locked(mode),
            self._translated(),
            contextlib.closing(self._connect(self.path)) as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        try:
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _kind(error)(
                f"{self.lock_path.name} cannot be opened ({_reason(error)})."
            ) from error
        try:
            deadline = time.monotonic() + _WAIT_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise LedgerWriteError(
                            f"Another process has held {self.lock_path.name} for "
                            f"{_WAIT_SECONDS:.0f} s. End it, then try again."
                        ) from error
                    time.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise _kind(error)(
                f"{self.path.name} could not be used ({_reason(error)}). Check free space and "
                "permissions; if the file is damaged, put its newest good copy back."
            ) from error

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=_WAIT_SECONDS, isolation_level=None
        )
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def _insert(self, connection: sqlite3.Connection, entry: Entry) -> None:
        connection.execute(
            "INSERT INTO entries (seq, record, hash) VALUES (?, ?, ?)",
            (entry.seq, write_record(entry), entry.hash),
        )

    def _write_through(self, path: Path, text: str) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _head_text(head: Head) -> str:
    return canonical({"hash": head.hash, "seq": head.seq}) + "\n"


def _kind(error: BaseException) -> type[LedgerError]:
    """Whether only the disk is in the way, which passes, or the file itself is not in order."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, OSError) or (code is not None and code & 0xFF in _PASSING):
        return LedgerWriteError
    return LedgerError


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
