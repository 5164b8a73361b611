"""A verified journal: every look at the books checks the chain and the head first.

A process remembers the books up to the last entry that it verified and reads only what came after,
beginning with that entry itself, so that a file swapped under it does not go unseen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from datasites.errors import LedgerError
from datasites.merchant.ledger.books import Books, format_of
from datasites.merchant.ledger.records import (
    GENESIS,
    Entry,
    chain_hash,
    read_record,
    timestamp,
    write_record,
)
from datasites.merchant.ledger.sighting import Sighting, beyond, tally_to_dict
from datasites.merchant.ledger.store import Head, Store
from datasites.merchant.ledger.terms import Terms
from recsys.privacy.spending import Tally

__all__ = ["Clock", "Journal", "Turn", "utc_now"]

Clock = Callable[[], datetime]

_CLOCK_SLACK = timedelta(seconds=1)


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Turn:
    """A writer's turn: the books as nobody else can change them now, and the way to add to them."""

    books: Books
    now: datetime
    book: Callable[..., None]


class Journal:
    """Entries on disk and the books that they add up to."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._store = Store(path)
        self.clock = clock
        self._turn = threading.RLock()
        self._known: Books | None = None

    def create(self, terms: Terms, earlier: Sequence[Books] = ()) -> None:
        """Make the files, with the budget and what was spent before as the first entry."""
        body: dict[str, Any] = {"budget": terms.budget.to_dict(), **terms.to_dict()}
        if earlier:
            body["earlier"] = [
                {"spent": tally_to_dict(one.ever), "entries": one.seq, "hash": one.hash}
                for one in earlier
            ]
        body["format"] = format_of(body)
        self._store.create(_sealed(Books(), timestamp(self.clock()), "created", "", body, False))

    def open(self) -> None:
        """Verify everything and mend what a crash may leave: a head that is one behind."""
        with self._turn, self._store.writing() as connection:
            self._known = None
            self._begin(connection)
            self._store.sweep()

    def entries(self) -> list[Entry]:
        """All entries, read and verified anew."""
        with self._turn, self._store.reading() as connection:
            self._known = None
            books, entries = _replay(self._store, connection, None)
            _check_head(self._store.read_head(), books)
            self._known = books
            return entries

    @contextmanager
    def reading(self) -> Iterator[Books]:
        """The books as they are now."""
        with self._turn, self._store.reading() as connection:
            yield self._catch_up(connection)

    def lacks(self, seen: Sighting) -> bool:
        """Whether this ledger does not contain what was seen of it: an older copy or another one.

        After an accepted restore, entries seen before it may be missing, but not what they cost:
        whoever shows an old sighting again raises no alarm.
        """
        with self._turn, self._store.reading() as connection:
            books = self._catch_up(connection)
            if seen.restores < books.restores:
                return beyond(books.known_after(seen.restores), [seen.ever]) != Tally()
            return (
                seen.restores > books.restores
                or seen.seq > books.seq
                or self._store.hash_at(connection, seen.seq) != seen.hash
            )

    def known_of(self, seen: Sighting) -> Tally:
        """What of a sighting's cost is in these books: all up to where the two parted.

        What was spent here since is no part of it, though it may be as much.
        """
        with self._turn, self._store.reading() as connection:
            books = self._catch_up(connection)
            if seen.restores < books.restores:
                return books.known_after(seen.restores)
            if not seen.marks:
                return books.ever
            for seq, hash_, ever in reversed(seen.marks):
                if self._store.hash_at(connection, seq) == hash_:
                    return ever
            return Tally()

    @contextmanager
    def writing(self) -> Iterator[Turn]:
        """A turn in which no other thread or process writes.

        A clock that was set back since the last entry is noted before anything else is booked.
        """
        with self._turn, self._store.writing() as connection:
            now = self.clock()
            books = self._begin(connection)
            if books.at > timestamp(now + _CLOCK_SLACK):
                jump = {"from": books.at, "to": timestamp(now)}
                self._book(connection, books, now, "clock set back", "", jump, note=True)
                books = self._begin(connection)

            def book(kind: str, study: str, body: Mapping[str, Any], *, note: bool = False) -> None:
                self._book(connection, books, now, kind, study, body, note=note)

            yield Turn(books, now, book)

    def rebuild_head(self) -> int:
        """Write the head anew from a chain that verifies; returns where the old head was, or 0."""
        with self._turn, self._store.writing() as connection:
            self._known = None
            books, entries = _replay(self._store, connection, None)
            try:
                head = self._store.read_head()
            except LedgerError:
                head = Head(0, GENESIS)
            if head.seq and (head.seq > books.seq or entries[head.seq - 1].hash != head.hash):
                raise _other_ledger(head, books)
            self._store.write_head(Head(books.seq, books.hash))
            return head.seq

    def _book(
        self,
        connection: Connection,
        books: Books,
        now: datetime,
        kind: str,
        study: str,
        body: Mapping[str, Any],
        *,
        note: bool,
    ) -> None:
        # Forgotten first: if anything fails from here on, the next look replays what is on disk.
        # Applied before it is written: what could not be replayed must never reach the disk.
        self._known = None
        entry = _sealed(books, timestamp(now), kind, study, dict(body), note)
        books.apply(entry)
        self._store.append(connection, entry)
        self._known = books

    def _begin(self, connection: Connection) -> Books:
        self._store.begin(connection)
        books = self._catch_up(connection)
        if self._store.read_head().seq < books.seq:
            self._store.write_head(Head(books.seq, books.hash))
        return books

    def _catch_up(self, connection: Connection) -> Books:
        known, self._known = self._known, None
        books, _ = _replay(self._store, connection, known)
        _check_head(self._store.read_head(), books)
        self._known = books
        return books


def _replay(store: Store, connection: Connection, known: Books | None) -> tuple[Books, list[Entry]]:
    """`known` moved on to the last row, and the entries that were read for it."""
    rows = store.rows(connection, known.seq if known else 1)
    books = known or Books()
    entries: list[Entry] = []
    if known is not None:
        seq, record, digest = next(rows, (None, None, None))
        if (seq, digest) != (known.seq, known.hash):
            raise LedgerError(
                f"Entry {known.seq} of the ledger is not the one that was there before: the file "
                "was replaced or changed while in use. Put the newest good copy back."
            )
        read_record(known.seq, known.hash_before, record, digest)
    for seq, record, digest in rows:
        if seq != books.seq + 1:
            raise LedgerError(
                f"Expected entry {books.seq + 1} of the ledger, found {seq}: entries were taken "
                "out or put in. Put the newest good copy back."
            )
        entry = read_record(books.seq + 1, books.hash, record, digest)
        books.apply(entry)
        entries.append(entry)
    if books.seq == 0:
        raise LedgerError("The ledger has no entries at all. Put the newest good copy back.")
    return books, entries


def _check_head(head: Head, books: Books) -> None:
    """Raise unless `head` is the last entry, or the one before, as a crash may leave it."""
    if (head.seq, head.hash) == (books.seq, books.hash):
        return
    if head.seq == books.seq - 1 and head.hash == books.hash_before:
        return
    if head.seq < books.seq - 1:
        raise LedgerError(
            f"ledger.head stands at entry {head.seq}, the ledger has {books.seq}: the head file is "
            "an older copy. Put the newest one back, or rebuild it if the ledger is the newest."
        )
    raise _other_ledger(head, books)


def _other_ledger(head: Head, books: Books) -> LedgerError:
    return LedgerError(
        f"ledger.head knows entry {head.seq} ({head.hash[:12]}), the ledger ends at {books.seq} "
        f"({books.hash[:12]}) without it: an older or another copy was put in its place, and "
        "what was spent since would be forgotten. Put the newest copy back, with its head file. "
        "If it is lost, keep these files and treat the budget as spent."
    )


def _sealed(
    books: Books, at: str, kind: str, study: str, body: dict[str, Any], note: bool
) -> Entry:
    """The next entry, read back from its own text so that what is applied is what is stored."""
    record = write_record(Entry(books.seq + 1, at, kind, study, body, "", note))
    return read_record(books.seq + 1, books.hash, record, chain_hash(books.hash, record))
