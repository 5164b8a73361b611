"""The command line: help, exit codes, and messages that say what to do."""

from __future__ import annotations

import json
import resource
import sqlite3
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from datasites.merchant import contributions
from datasites.merchant.contributions import nest
from ui.cli import app
from ui.cli.doctor import _lockable


def toyfed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    return [path, *(one for name, sub in inner.items() for one in commands(sub, (*path, name)))]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "toys"
    words = ("--merchants", 2, "--shoppers", 120, "--toys", 30)
    assert toyfed("data", "synthesize", folder, *words).exit_code == 0
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "castle"
    made = init(home)
    assert made.exit_code == 0, made.output
    return home


def init(home: Path, email: str = "castle@toys.test", *more: object) -> Result:
    share = home.parent / "share"
    return toyfed(
        "datasite", "init", "Castle", "--email", email, "--share", share, "--home", home, *more
    )


def facts(*words: object) -> Any:
    found = toyfed(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.parametrize("path", commands(typer.main.get_command(app)), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    found = toyfed(*path, "--help")
    assert found.exit_code == 0
    assert "Usage:" in found.stdout


def test_a_market_is_made_and_described(market: Path) -> None:
    found = facts("data", "describe", market)
    assert set(found) == {"facts", "rows_read", "problems"}
    assert found["problems"] == {}
    assert toyfed("data", "describe", market).exit_code == 0


def test_a_datasite_from_its_first_day(home: Path, market: Path, tmp_path: Path) -> None:
    before = facts("datasite", "status", "--home", home)
    assert before["service"] == "never started"
    assert not before["has_data"]
    items = (market / "items.csv").read_text().splitlines()
    ids = [line.split(",")[0] for line in items[1:4]]
    file = tmp_path / "bought.csv"
    file.write_text(
        "shopper_id,item_id,position\n" + "".join(f"kim,{one},{i}\n" for i, one in enumerate(ids))
    )
    added = facts("datasite", "add-data", file, "--catalogue", market / "items.csv", "--home", home)
    assert added["rows_kept"] >= 3
    assert facts("datasite", "status", "--home", home)["has_data"]
    assert facts("datasite", "requests", "--home", home) == []
    assert "No requests yet" in toyfed("datasite", "requests", "--home", home).stdout
    ledger = facts("datasite", "ledger", "--home", home)
    assert ledger["verified"] is True
    assert ledger["budget"] == {"epsilon": 1.0, "delta": 1e-5}
    assert ledger["spent"]["epsilon"] == 0
    export = tmp_path / "ledger.jsonl"
    assert toyfed("datasite", "ledger", "--export", export, "--home", home).exit_code == 0
    assert len(export.read_text().splitlines()) == len(ledger["entries"])


def test_wrong_usage_ends_with_2(home: Path, tmp_path: Path) -> None:
    assert toyfed("datasite", "ledger", "--colour").exit_code == 2
    assert toyfed("datasite", "init").exit_code == 2
    words = ("x.csv", "--catalogue", "y.csv", "--column", "odd", "--home", home)
    assert toyfed("datasite", "add-data", *words).exit_code == 2


def test_a_failure_ends_with_1_and_says_what_to_do(home: Path, tmp_path: Path) -> None:
    lost = toyfed("datasite", "status", "--home", tmp_path / "nowhere")
    assert lost.exit_code == 1
    assert "toyfed datasite init" in " ".join(lost.stderr.split())
    again = init(home)
    assert again.exit_code == 1
    assert "is one already" in " ".join(again.stderr.split())


@pytest.mark.parametrize(
    ("email", "more", "told"),
    [("castle", (), "email"), ("castle@toys.test", ("--epsilon", 0), "epsilon")],
)
def test_bad_settings_are_told_without_a_traceback(
    tmp_path: Path, email: str, more: tuple[object, ...], told: str
) -> None:
    found = init(tmp_path / "new", email, *more)
    assert found.exit_code == 1
    assert "error:" in found.stderr
    assert told in found.stderr
    assert not (tmp_path / "new").exists()


def test_bad_settings_of_a_study_desk_are_told(tmp_path: Path, market: Path) -> None:
    found = toyfed(
        *("study", "init", "--email", "ada", "--share", tmp_path, "--home", tmp_path / "ada"),
        *("--catalogue", market / "items.csv"),
    )
    assert found.exit_code == 1
    assert "email" in found.stderr


def test_a_refusal_ends_with_3(home: Path) -> None:
    found = toyfed("datasite", "approve", "toys", "--home", home)
    assert found.exit_code == 3
    assert "no requests yet" in " ".join(found.stderr.split())


def test_a_ledger_that_was_changed_ends_with_4(home: Path) -> None:
    with sqlite3.connect(home / "private" / "ledger.sqlite") as database:
        (table,) = next(
            database.execute(
                "SELECT name FROM sqlite_master WHERE type='table' AND sql LIKE '%record%'"
            )
        )
        for (trigger,) in list(
            database.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        ):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(f"UPDATE {table} SET record = replace(record, '1.0', '9.0')")
    database.close()
    found = toyfed("datasite", "ledger", "--home", home)
    assert found.exit_code == 4
    assert "ledger" in found.stderr


def test_text_of_strangers_is_shown_as_it_is(home: Path) -> None:
    from datasites.merchant import Ledger

    with Ledger.open(home / "private" / "ledger.sqlite") as ledger:
        ledger.note("refused", {"job": "odd", "reason": "[/red] and [bold]loud[/bold]"})
    found = toyfed("datasite", "ledger", "--home", home)
    assert found.exit_code == 0, found.exception
    assert "[/red]" in found.stdout


def test_a_bad_file_of_purchases_is_told_without_its_values(
    home: Path, market: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("who,what\nkim,T00001\n")
    found = toyfed(
        "datasite", "add-data", file, "--catalogue", market / "items.csv", "--home", home
    )
    assert found.exit_code == 1
    assert "shopper_id" in found.stderr
    assert "kim" not in found.output


def test_the_doctor_says_what_it_looked_at() -> None:
    found = toyfed("doctor", "--json")
    rows = json.loads(found.stdout)
    assert {"Python", "syft", "sandbox", "noise source"} <= {row["check"] for row in rows}
    assert found.exit_code == (0 if all(row["ok"] for row in rows) else 1)
    assert all(row["ok"] or row["what_to_do"] for row in rows)
    sandbox = {row["check"]: row["ok"] for row in rows}
    assert ("programs of others" in sandbox) == sandbox["sandbox"]


@pytest.mark.parametrize(
    ("user", "limit", "told"),
    [
        (0, 8 << 20, "as much as they need"),
        (1000, resource.RLIM_INFINITY, "as much as they need"),
        (1000, 1 << 30, "1,024 MB"),
        (1000, 8 << 20, "8 MB: a side channel stays open where memory is short"),
    ],
)
def test_the_doctor_tells_how_much_memory_programs_may_lock(
    monkeypatch: pytest.MonkeyPatch, user: int, limit: int, told: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit, limit))
    assert _lockable().startswith(told)


def test_the_doctor_tries_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    found = contributions.probe_programs()
    assert found.available or found.what_to_do
    monkeypatch.setattr(nest, "kernel_facts", lambda: None)
    refused = contributions.probe_programs()
    assert not refused.available
    assert "expected a Linux machine" in refused.detail
    assert refused.what_to_do
