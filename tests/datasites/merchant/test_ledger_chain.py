"""Whatever is changed, cut, swapped or restored, the ledger notices and fails closed."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.errors import LedgerError
from datasites.merchant.ledger import Ledger
from recsys.privacy.events import Budget, GaussianEvent

pytestmark = pytest.mark.attack

EVENT = GaussianEvent("sums", 1.0, 100.0)
RELEASED = {"arrays": {"sums": [3]}, "sha256": "f" * 64, "bytes": 24}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with one entry of most kinds, closed."""
    path = tmp_path / "home" / "ledger.sqlite"
    ledger = Ledger.create(path, Budget(1.0, 1e-5))
    ledger.request("r", "toys", "ds@lab", "a" * 64, "b" * 64, {})
    ledger.approve(
        "r",
        study="toys",
        sender="ds@lab",
        code_sha256="a" * 64,
        params_sha256="b" * 64,
        events=[EVENT, EVENT],
        rounds=2,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="merchant",
    )
    ledger.reserve("toys", "job-1", "round-1", [EVENT])
    ledger.commit("job-1", RELEASED)
    ledger.note("quarantine", {"sender": "eve@lab"})
    return path


def edit(path: Path, *statements: str) -> None:
    """Change the database as someone who knows SQLite would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER entries_are_final")
    connection.execute("DROP TRIGGER entries_stay")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def copy(path: Path, to: Path) -> Path:
    shutil.copytree(path.parent, to)
    return to / path.name


def test_any_changed_byte_of_any_row_is_noticed(path: Path) -> None:
    ledger = Ledger.open(path)
    rows = sqlite3.connect(path)
    texts = [text for row in rows.execute("SELECT record, hash FROM entries") for text in row]
    rows.close()
    content = path.read_bytes()
    tried = 0
    with path.open("r+b", buffering=0) as file:
        for text in texts:
            assert content.count(text.encode()) == 1
            start = content.index(text.encode())
            for offset in range(start, start + len(text)):
                # Another printable character: the text stays text, only its meaning changes.
                file.seek(offset)
                file.write(bytes([content[offset] ^ 1]))
                with pytest.raises(LedgerError):
                    ledger.verify()
                file.seek(offset)
                file.write(content[offset : offset + 1])
                tried += 1
    assert tried > 1000
    ledger.verify()


def test_rows_are_final_to_ordinary_sql(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in ("DELETE FROM entries", "UPDATE entries SET hash = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="final"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = 6",
        "DELETE FROM entries WHERE seq > 3",
        "DELETE FROM entries WHERE seq = 4",
        "DELETE FROM entries WHERE seq = 1",
        "DELETE FROM entries",
        "DROP TABLE entries",
        "UPDATE entries SET seq = 7 WHERE seq = 6",
        "UPDATE entries SET seq = -4 WHERE seq = 4",
        "UPDATE entries SET record = CAST(record AS BLOB) WHERE seq = 4",
        "UPDATE entries SET record = record || ' ' WHERE seq = 4",
        "UPDATE entries SET record = CAST(x'ff' AS TEXT) WHERE seq = 4",
        "UPDATE entries SET hash = upper(hash) WHERE seq = 6",
        "INSERT INTO entries VALUES (7, '{}', 'x')",
        "INSERT INTO entries SELECT 0, record, hash FROM entries WHERE seq = 1",
        "INSERT INTO entries SELECT 7, record, hash FROM entries WHERE seq = 6",
    ],
)
def test_edited_rows_are_noticed_by_every_operation(path: Path, statement: str) -> None:
    running = Ledger.open(path)
    edit(path, statement)
    for operation in (
        lambda: Ledger.open(path),
        lambda: Ledger.rebuild_head(path, "merchant"),
        running.verify,
        running.entries,
    ):
        with pytest.raises(LedgerError):
            operation()
    with pytest.raises(LedgerError):
        running.reserve("toys", "job-2", "round-2", [EVENT])


def test_an_older_copy_is_noticed(path: Path, tmp_path: Path) -> None:
    backup = copy(path, tmp_path / "backup")
    running = Ledger.open(path)
    running.reserve("toys", "job-2", "round-2", [EVENT])
    shutil.copyfile(backup, path)
    for operation in (lambda: Ledger.open(path), running.spent, running.verify):
        with pytest.raises(LedgerError, match="newest"):
            operation()
    with pytest.raises(LedgerError, match="older or another copy"):
        Ledger.rebuild_head(path, "merchant")


def test_an_older_copy_with_its_head_is_noticed_by_a_running_service(
    path: Path, tmp_path: Path
) -> None:
    backup = copy(path, tmp_path / "backup")
    running = Ledger.open(path)
    running.reserve("toys", "job-2", "round-2", [EVENT])
    shutil.rmtree(path.parent)
    shutil.copytree(backup.parent, path.parent)
    with pytest.raises(LedgerError, match="replaced or changed"):
        running.spent()


def test_another_history_of_the_same_length_is_noticed(path: Path, tmp_path: Path) -> None:
    other = Ledger.open(copy(path, tmp_path / "other"))
    other.note("quarantine", {"sender": "eve@lab"})
    Ledger.open(path).reserve("toys", "job-2", "round-2", [EVENT])
    shutil.copyfile(tmp_path / "other" / path.name, path)
    with pytest.raises(LedgerError, match="another copy"):
        Ledger.open(path)


def test_a_head_one_behind_is_what_a_crash_leaves(path: Path) -> None:
    head = path.with_suffix(".head")
    before = head.read_text()
    ledger = Ledger.open(path)
    ledger.note("quarantine", {})
    after = head.read_text()
    head.write_text(before)
    ledger.verify()
    assert head.read_text() == before
    Ledger.open(path)
    assert head.read_text() == after


def test_a_head_one_behind_of_another_chain_is_refused(path: Path) -> None:
    head = path.with_suffix(".head")
    fields = json.loads(head.read_text())
    head.write_text(json.dumps({"seq": fields["seq"] - 1, "hash": fields["hash"]}))
    with pytest.raises(LedgerError):
        Ledger.open(path)
    with pytest.raises(LedgerError):
        Ledger.rebuild_head(path, "merchant")


@pytest.mark.parametrize("text", [None, "", "[]", '{"seq": "6", "hash": 1}', "\xff"])
def test_a_lost_head_is_rebuilt_on_purpose_only(path: Path, text: str | None) -> None:
    head = path.with_suffix(".head")
    if text is None:
        head.unlink()
    else:
        head.write_bytes(text.encode("latin-1"))
    with pytest.raises(LedgerError, match="rebuild"):
        Ledger.open(path)
    ledger = Ledger.rebuild_head(path, "merchant")
    entry = ledger.entries()[-1]
    assert (entry.kind, entry.body) == ("head rebuilt", {"by": "merchant", "head_was_at": 0})
    Ledger.open(path).verify()


def test_an_older_head_alone_is_refused_until_rebuilt(path: Path, tmp_path: Path) -> None:
    old = path.with_suffix(".head").read_text()
    ledger = Ledger.open(path)
    ledger.note("a", {})
    ledger.note("b", {})
    path.with_suffix(".head").write_text(old)
    with pytest.raises(LedgerError, match="older copy"):
        ledger.spent()
    assert Ledger.rebuild_head(path, "merchant").entries()[-1].body["head_was_at"] == 6


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 400)
    with pytest.raises(LedgerError, match="could not be used"):
        Ledger.open(path)


def test_remains_of_a_ledger_are_not_built_upon(path: Path) -> None:
    path.unlink()
    with pytest.raises(LedgerError, match="Put it back"):
        Ledger.create(path, Budget(1.0, 1e-5))


def test_a_creation_that_was_cut_short_can_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.create(path, Budget(1.0, 1e-5))
    path.unlink()
    assert Ledger.create(path, Budget(2.0, 1e-5)).budget.epsilon == 2.0


def test_a_booking_of_an_unknown_kind_is_refused(path: Path) -> None:
    """A newer release may book costs in ways that this one cannot count."""
    last = Ledger.open(path).entries()[-1]
    record = json.dumps(
        {
            "at": last.at,
            "body": {},
            "kind": "borrowed",
            "note": False,
            "seq": last.seq + 1,
            "study": "toys",
        },
        separators=(",", ":"),
    )
    digest = hashlib.sha256(f"{last.hash}\n{record}".encode()).hexdigest()
    edit(path, f"INSERT INTO entries VALUES ({last.seq + 1}, '{record}', '{digest}')")
    with pytest.raises(LedgerError, match="newer ToyFed"):
        Ledger.open(path)


def test_the_export_can_be_checked_without_us(path: Path, tmp_path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.note("odd texts", {"x": "é\n\u2028", "y": 0.1})
    ledger.export(tmp_path / "ledger.jsonl")
    previous = "0" * 64
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert len(lines) == len(ledger.entries()) == 7
    for line in lines:
        row = json.loads(line)
        record = json.dumps(row["record"], sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()
        assert row["hash"] == previous


def test_only_new_entries_are_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasites.merchant.ledger import journal

    read: list[int] = []
    genuine: Callable[..., object] = journal.read_record

    def counted(seq: int, *rest: object) -> object:
        read.append(seq)
        return genuine(seq, *rest)

    ledger = Ledger.open(path)
    Ledger.open(path).note("by another process", {})
    monkeypatch.setattr(journal, "read_record", counted)
    ledger.spent()
    assert read == [6, 7]
    read.clear()
    ledger.verify()
    assert read == [1, 2, 3, 4, 5, 6, 7]
