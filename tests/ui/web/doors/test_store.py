"""Links and sessions: used once, ended in time, hashes alone, private."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from ui.errors import DoorError
from ui.web.doors.roles import Role
from ui.web.doors.store import ABSOLUTE_SECONDS, IDLE_SECONDS, LINK_SECONDS, DoorStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> DoorStore:
    return DoorStore(tmp_path / "private" / "doors.sqlite3", clock)


def test_a_link_becomes_a_session_of_its_role(store: DoorStore, tmp_path: Path) -> None:
    secret = store.new_link(Role.SHOPPER, merchant=tmp_path, shopper="S-1")
    assert len(secret) >= 43  # 256 bits
    session = store.use_link(secret)
    assert session is not None
    assert session != secret
    person = store.person(session)
    assert person is not None
    assert (person.role, person.merchant, person.shopper) == (Role.SHOPPER, tmp_path, "S-1")
    assert "S-1" not in repr(person)


@pytest.mark.attack
def test_a_link_works_once(store: DoorStore) -> None:
    secret = store.new_link(Role.MERCHANT)
    assert store.use_link(secret)
    assert store.use_link(secret) is None


@pytest.mark.attack
def test_of_many_who_use_a_link_at_once_one_gets_in(tmp_path: Path) -> None:
    path = tmp_path / "doors.sqlite3"
    secret = DoorStore(path).new_link(Role.MERCHANT)
    got: list[str | None] = []
    start = threading.Barrier(8)

    def use() -> None:
        mine = DoorStore(path)
        start.wait()
        got.append(mine.use_link(secret))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in got) == 1


@pytest.mark.attack
def test_a_link_runs_out(store: DoorStore, clock: Clock) -> None:
    secret = store.new_link(Role.MERCHANT)
    clock.now += LINK_SECONDS + 1
    assert store.use_link(secret) is None


@pytest.mark.attack
@pytest.mark.parametrize("guess", ["", "x", "a" * 43, "\x00", "\ud800", "' OR 1=1 --", "ä" * 50])
def test_guesses_open_nothing(store: DoorStore, guess: str) -> None:
    store.new_link(Role.MERCHANT)
    store.begin(Role.MERCHANT)
    assert store.use_link(guess) is None
    assert store.person(guess) is None


@pytest.mark.attack
def test_a_session_ends_when_nobody_is_there(store: DoorStore, clock: Clock) -> None:
    session = store.begin(Role.MERCHANT)
    for _ in range(5):
        clock.now += IDLE_SECONDS - 1
        assert store.person(session, active=True)
    clock.now += IDLE_SECONDS - 1
    assert store.person(session)  # looking alone does not keep it
    clock.now += 2
    assert store.person(session) is None
    clock.now -= 3
    assert store.person(session) is None  # over is over


@pytest.mark.attack
def test_a_session_ends_however_busy(store: DoorStore, clock: Clock) -> None:
    session, began = store.begin(Role.MERCHANT), clock.now
    while clock.now - began < ABSOLUTE_SECONDS - 1000:
        clock.now += 900
        assert store.person(session, active=True)
    clock.now = began + ABSOLUTE_SECONDS + 1
    assert store.person(session, active=True) is None


@pytest.mark.attack
def test_a_clock_set_back_does_not_prolong(store: DoorStore, clock: Clock) -> None:
    session = store.begin(Role.MERCHANT)
    clock.now -= 3600
    assert store.person(session) is None


def test_signing_out(store: DoorStore) -> None:
    one, other = store.begin(Role.MERCHANT), store.begin(Role.MERCHANT)
    store.end(one)
    assert store.person(one) is None
    assert store.person(other)
    assert store.end_all() == 1
    assert store.person(other) is None


def test_sessions_outlive_the_process(store: DoorStore, clock: Clock) -> None:
    session = store.begin(Role.ANALYST)
    again = DoorStore(store.path, clock)
    person = again.person(session)
    assert person is not None
    assert person.role is Role.ANALYST


@pytest.mark.attack
def test_the_file_holds_no_secret_and_is_private(store: DoorStore) -> None:
    link, session = store.new_link(Role.MERCHANT), store.begin(Role.MERCHANT)
    data = store.path.read_bytes()
    assert link.encode() not in data
    assert session.encode() not in data
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    os.chmod(store.path, 0o644)
    DoorStore(store.path)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.attack
def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "linked.sqlite3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DoorError, match="a link is not followed"):
        DoorStore(tmp_path / "linked.sqlite3")


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "damaged.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(DoorError, match="Delete that file"):
        DoorStore(tmp_path / "damaged.sqlite3")


def test_links_are_bounded(store: DoorStore, clock: Clock) -> None:
    for _ in range(1000):
        store.new_link(Role.SHOPPER)
    with pytest.raises(DoorError, match="wait to be used"):
        store.new_link(Role.SHOPPER)
    clock.now += LINK_SECONDS + 1
    assert store.new_link(Role.SHOPPER)


@pytest.mark.attack
def test_of_a_shopper_all_but_one_session_ends(store: DoorStore, tmp_path: Path) -> None:
    def opened(shopper: str, merchant: Path = tmp_path) -> str:
        return store.begin(Role.SHOPPER, merchant=merchant, shopper=shopper)

    here, elsewhere, other, namesake = (
        opened("kim"),
        opened("kim"),
        opened("lee"),
        opened("kim", tmp_path / "another shop"),
    )
    link = store.new_link(Role.SHOPPER, merchant=tmp_path, shopper="kim")
    person = store.person(here)
    assert person is not None
    store.end_others(person)
    assert store.person(here) == person
    assert store.person(elsewhere) is None
    assert store.use_link(link) is None
    assert store.person(other) is not None
    assert store.person(namesake) is not None
    owner = store.person(store.begin(Role.MERCHANT, merchant=tmp_path))
    assert owner is not None
    store.end_others(owner)
    assert store.person(here) == person


def test_a_role_that_does_not_exist_here_ends(store: DoorStore) -> None:
    link, session, mine = (
        store.new_link(Role.DEMO),
        store.begin(Role.DEMO),
        store.begin(Role.ANALYST),
    )
    store.end_role(Role.DEMO)
    assert store.use_link(link) is None
    assert store.person(session) is None
    assert store.person(mine)


def test_a_full_disk_keeps_nobody_from_looking(
    store: DoorStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    session, real = store.begin(Role.MERCHANT), sqlite3.connect

    class Full(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
            if sql.startswith(("UPDATE", "DELETE")):
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: real(path, factory=Full, **more))
    clock.now += 60
    assert store.person(session, active=True)
    clock.now += IDLE_SECONDS
    assert store.person(session, active=True) is None


def begun(store: DoorStore) -> tuple[str, str]:
    """A session's secret and its name."""
    secret = store.begin(Role.SHOPPER)
    person = store.person(secret)
    assert person is not None
    return secret, person.session


@pytest.mark.attack
@pytest.mark.parametrize(
    "ending", ["signed out", "too long", "everybody", "role", "others go on", "page started again"]
)
def test_what_is_put_aside_ends_with_its_session(
    store: DoorStore, clock: Clock, ending: str
) -> None:
    secret, name = begun(store)
    other, _ = begun(store)
    store.keep(name, "basket", "a-wooden-train")
    assert store.kept(name, "basket") == "a-wooden-train"
    assert b"a-wooden-train" in store.path.read_bytes()
    if ending == "signed out":
        store.end(secret)
    elif ending == "too long":
        clock.now += ABSOLUTE_SECONDS + 1
        assert store.person(secret) is None
    elif ending == "everybody":
        store.end_all()
    elif ending == "others go on":  # nobody asks for the session that has ended
        for _ in range(3):
            clock.now += IDLE_SECONDS / 2
            assert store.person(other, active=True)
    elif ending == "page started again":
        clock.now += IDLE_SECONDS + 1
        DoorStore(store.path, clock)
    else:
        store.end_role(Role.SHOPPER)
    assert store.kept(name, "basket") is None
    assert b"a-wooden-train" not in store.path.read_bytes()
    store.keep(name, "basket", "again")
    assert store.kept(name, "basket") is None


@pytest.mark.attack
def test_what_is_put_aside_is_bounded_and_its_own(store: DoorStore) -> None:
    (_, ours), (_, theirs) = begun(store), begun(store)
    for number in range(40):
        store.keep(ours, f"basket-{number}", "x")
    kept = [number for number in range(40) if store.kept(ours, f"basket-{number}")]
    assert kept == list(range(16))
    store.keep(ours, "basket-3", "y")
    assert store.kept(ours, "basket-3") == "y"
    store.keep(ours, "basket-3", "z" * 100_000)
    assert store.kept(ours, "basket-3") == "y"
    assert store.kept(theirs, "basket-3") is None
    assert store.kept("", "basket-3") is None


def test_a_file_of_an_older_page_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "doors.sqlite3"
    store = DoorStore(path)
    with store._open() as db:
        db.executescript("DROP TRIGGER gone; DROP TABLE kept")
    _, name = begun(DoorStore(path))
    store.keep(name, "basket", "toy")
    assert store.kept(name, "basket") == "toy"
