"""One-time links and the sessions that they become: a private file that holds hashes alone.

    link      secret of 256 bits in the link, SHA-256 of it here; used once, gone after minutes
    session   secret of 256 bits in a cookie, SHA-256 of it here; ends when idle, and in any case
    kept      what a session put aside (a basket), so that a page may be started again; ends with it

A copy of the file opens nothing. It lies in a private folder, since it names shoppers' ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ui.errors import DoorError
from ui.web.doors.roles import Person, Role

__all__ = [
    "ABSOLUTE_SECONDS",
    "IDLE_SECONDS",
    "LINK_SECONDS",
    "DoorStore",
    "hash_of",
]

LINK_SECONDS = 15 * 60.0
IDLE_SECONDS = 30 * 60.0
ABSOLUTE_SECONDS = 12 * 3600.0
_TOUCH_SECONDS = 20.0
"""Activity is written down at most this often."""
_MOST_LINKS = 1000
_NAME = 16
"""Characters of a session's hash by which a page knows it."""
_MOST_KEPT, _MOST_TEXT = 16, 20_000
"""Texts that one session may put aside, and characters of each."""
_TABLES = """
CREATE TABLE IF NOT EXISTS links (
    hash TEXT PRIMARY KEY, role TEXT NOT NULL, merchant TEXT, shopper TEXT, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    hash TEXT PRIMARY KEY, role TEXT NOT NULL, merchant TEXT, shopper TEXT,
    began REAL NOT NULL, seen REAL NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kept (
    session TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (session, name));
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON sessions
    BEGIN DELETE FROM kept WHERE session = substr(OLD.hash, 1, {name}); END;
"""


def hash_of(secret: str) -> str:
    """SHA-256 of a secret, hex. The secrets are random, so that no salt or stretching is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class DoorStore:
    """Links and sessions in one file, for this page's processes and the command line.

    Args:
        path: the file; made (0600) where there is none.
        clock: seconds since the epoch.

    Raises: DoorError if the file can be read by others, is a link, or is damaged.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._make_private()
        with self._open() as db:
            db.executescript(_TABLES.format(name=_NAME))
            self._sweep(db)

    def new_link(
        self,
        role: Role,
        *,
        merchant: Path | None = None,
        shopper: str | None = None,
        seconds: float = LINK_SECONDS,
    ) -> str:
        """Make a link's secret: 256 random bits as 43 characters."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        with self._open() as db:
            db.execute("DELETE FROM links WHERE until < ?", (now,))
            if db.execute("SELECT COUNT(*) FROM links").fetchone()[0] >= _MOST_LINKS:
                raise DoorError(
                    f"expected fewer than {_MOST_LINKS} links that wait to be used, found that "
                    "many. Let some of them be used or run out first."
                )
            db.execute(
                "INSERT INTO links VALUES (?, ?, ?, ?, ?)",
                (
                    hash_of(secret),
                    role.value,
                    str(merchant) if merchant else None,
                    shopper,
                    now + seconds,
                ),
            )
        return secret

    def use_link(self, secret: str) -> str | None:
        """Exchange a link's secret for that of a new session; None if it opens nothing (any more).

        Of two that come at once, one gets the session.
        """
        wanted, now = hash_of(secret), self._clock()
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM links WHERE until < ?", (now,))
            found = None
            # All are looked at, so that the time taken tells nothing about any of them.
            for row in db.execute("SELECT hash, role, merchant, shopper FROM links"):
                if hmac.compare_digest(row[0], wanted):
                    found = row
            if found is None:
                return None
            db.execute("DELETE FROM links WHERE hash = ?", (wanted,))
            return self._begin(db, found[1], found[2], found[3])

    def begin(self, role: Role, *, merchant: Path | None = None, shopper: str | None = None) -> str:
        """Begin a session for somebody whom another door has let in; its secret."""
        with self._open() as db:
            return self._begin(db, role.value, str(merchant) if merchant else None, shopper)

    def person(self, secret: str | None, *, active: bool = False) -> Person | None:
        """Who holds the session of this secret; None once it has ended.

        Args:
            active: whether they did something now, which keeps the session from being idle.
        """
        if not secret or len(secret) > 200:
            return None
        # Looked up by hash: how long that takes says nothing about a secret of 256 random bits.
        name, now = hash_of(secret), self._clock()
        with self._open() as db:
            row = db.execute(
                "SELECT role, merchant, shopper, began, seen FROM sessions WHERE hash = ?", (name,)
            ).fetchone()
            if row is None:
                return None
            role, merchant, shopper, began, seen = row
            # A clock that was set back ends sessions rather than prolonging them.
            if not (-60 <= now - began < ABSOLUTE_SECONDS and now - seen < IDLE_SECONDS):
                self._if_there_is_room(db, "DELETE FROM sessions WHERE hash = ?", (name,))
                return None
            if active and now - seen > _TOUCH_SECONDS:
                touch = "UPDATE sessions SET seen = ? WHERE hash = ?"
                self._if_there_is_room(db, touch, (now, name))
                self._sweep(db)
        return Person(Role(role), Path(merchant) if merchant else None, shopper, name[:_NAME])

    def keep(self, session: str, name: str, value: str) -> None:
        """Put a text aside for a session (`Person.session`), for as long as it lasts.

        Nothing is kept for a session that is over, beyond its bounds, or on a full disk: the page
        goes on with what it has in memory.
        """
        if len(value) > _MOST_TEXT or len(name) > _MOST_TEXT:
            return
        with self._open() as db:
            self._if_there_is_room(
                db,
                "INSERT OR REPLACE INTO kept SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM sessions "
                f"WHERE substr(hash, 1, {_NAME}) = ?) AND (SELECT COUNT(*) FROM kept "
                f"WHERE session = ? AND name <> ?) < {_MOST_KEPT}",
                (session, name, value, session, session, name),
            )

    def kept(self, session: str, name: str) -> str | None:
        """What a session put aside under a name; None if nothing."""
        with self._open() as db:
            row = db.execute(
                "SELECT value FROM kept WHERE session = ? AND name = ?", (session, name)
            ).fetchone()
        return str(row[0]) if row else None

    def end(self, secret: str | None) -> None:
        """Sign out: the session is over for every tab."""
        if secret:
            with self._open() as db:
                db.execute("DELETE FROM sessions WHERE hash = ?", (hash_of(secret),))

    def end_all(self) -> int:
        """Sign everybody out and make every link useless; how many sessions ended."""
        with self._open() as db:
            db.execute("DELETE FROM links")
            return db.execute("DELETE FROM sessions").rowcount

    def end_others(self, person: Person) -> None:
        """End a shopper's links and sessions but for the one that `person` is signed in with."""
        if person.shopper is None:
            return
        whose = (str(person.merchant) if person.merchant else None, person.shopper)
        with self._open() as db:
            db.execute("DELETE FROM links WHERE merchant IS ? AND shopper = ?", whose)
            db.execute(
                "DELETE FROM sessions WHERE merchant IS ? AND shopper = ? "
                f"AND substr(hash, 1, {_NAME}) <> ?",
                (*whose, person.session),
            )

    def end_role(self, role: Role) -> None:
        """End all sessions and links of a role that does not exist here."""
        with self._open() as db:
            db.execute("DELETE FROM links WHERE role = ?", (role.value,))
            db.execute("DELETE FROM sessions WHERE role = ?", (role.value,))

    def first_use(self, proof: str, seconds: float) -> bool:
        """Whether this proof of another door is shown for the first time within `seconds`."""
        now = self._clock()
        name = f"used:{hash_of(proof)}"
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "DELETE FROM facts WHERE name LIKE 'used:%' AND CAST(value AS REAL) < ?", (now,)
            )
            added = db.execute(
                "INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, str(now + seconds))
            )
            return added.rowcount == 1

    @property
    def address(self) -> str | None:
        """Where the page was last opened; None if never."""
        with self._open() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'address'").fetchone()
        return str(row[0]) if row else None

    @address.setter
    def address(self, value: str) -> None:
        with self._open() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('address', ?)", (value,))

    def _begin(
        self, db: sqlite3.Connection, role: str, merchant: str | None, shopper: str | None
    ) -> str:
        secret, now = secrets.token_urlsafe(32), self._clock()
        self._sweep(db)
        db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
            (hash_of(secret), role, merchant, shopper, now, now),
        )
        return secret

    def _sweep(self, db: sqlite3.Connection) -> None:
        """Delete what has ended or run out, and what was put aside with it."""
        now = self._clock()
        self._if_there_is_room(db, "DELETE FROM links WHERE until < ?", (now,))
        self._if_there_is_room(
            db,
            "DELETE FROM sessions WHERE began < ? OR seen < ?",
            (now - ABSOLUTE_SECONDS, now - IDLE_SECONDS),
        )

    @staticmethod
    def _if_there_is_room(db: sqlite3.Connection, change: str, values: tuple[object, ...]) -> None:
        """A full disk must not keep people from looking; it shortens sessions."""
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute(change, values)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.path, timeout=10)
            try:
                # What is deleted is overwritten: a basket does not stay in the file's free pages.
                db.execute("PRAGMA secure_delete = ON")
                with db:
                    yield db
            finally:
                db.close()
        except (sqlite3.Error, ValueError) as error:
            raise DoorError(
                f"expected links and sessions in {self.path.name}, found it unusable "
                f"({type(error).__name__}). Delete that file and start the page again; "
                "everybody signs in anew."
            ) from None

    def _make_private(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise DoorError(
                f"expected a private file {self.path}, found that it cannot be opened "
                f"({error.strerror}). Free that path; a link is not followed."
            ) from None
        try:
            facts = os.fstat(handle)
            if facts.st_uid != os.getuid():
                raise DoorError(
                    f"expected {self.path} to be owned by you, found another owner. "
                    "Delete it as that owner, or choose another folder."
                )
            if stat.S_IMODE(facts.st_mode) & 0o077:
                os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
