"""The ledger's verbs as a merchant types them, with their exit codes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.ledger import EARLIER, Sighting, verify_export
from datasites.merchant.witness import Witnesses
from recsys.privacy import GaussianEvent, Tally
from ui.cli.app import app


def toyfed(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "castle"
    made = toyfed(
        *("datasite", "init", "Castle", "--email", "castle@toys.test"),
        *("--share", tmp_path / "share", "--home", place, "--period-days", 365),
        *("--lifetime-epsilon", 3),
    )
    assert made.exit_code == 0, made.output
    return place


def verb(home: Path, *words: object) -> Any:
    return toyfed("datasite", "ledger", *words, "--home", home)


def test_period_and_lifetime_are_told(home: Path) -> None:
    facts = json.loads(verb(home, "--json").output)
    assert facts["period"]["number"] == 1
    assert facts["period"]["lifetime_epsilon"] == 3
    assert facts["spent_ever"]["epsilon"] == 0
    assert "to be renewed after" in verb(home, "--verify").output


def test_an_export_is_checked_on_another_machine(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    assert verb(home, "export", file).exit_code == 0
    checked = toyfed("datasite", "ledger", "verify-export", file, "--json")
    assert json.loads(checked.output)["entries"] == 1
    file.write_text(file.read_text().replace("created", "crested"))
    assert toyfed("datasite", "ledger", "verify-export", file).exit_code == 4


def test_a_period_that_is_not_over_is_not_renewed(home: Path) -> None:
    refused = verb(home, "renew", "--today", date.today().isoformat(), "--by", "me")
    assert refused.exit_code == 3
    assert "lasts until" in refused.stderr


@pytest.mark.attack
def test_a_restore_is_accepted_on_purpose_only(home: Path) -> None:
    assert verb(home, "accept-restore", "--by", "me").exit_code == 3
    opened = MerchantHome.open(home)
    ledger = Ledger.open(opened.ledger_path)
    witnesses = Witnesses(opened, ledger)
    witnesses.keep()
    later = Sighting(7, "f" * 64, 1, 0, Tally(0.01))
    (object_,) = Path(opened.settings.share).rglob("ledger-witness")
    object_.write_bytes(witnesses._seal(later))
    assert toyfed("datasite", "serve", "--once", "--home", home).exit_code == 4
    accepted = verb(home, "accept-restore", "--by", "me", "--json")
    assert json.loads(accepted.output)["spent_ever"]["mu"] == pytest.approx(0.1)
    assert verb(home, "accept-restore", "--by", "me").exit_code == 3


def test_terms_that_make_no_sense_leave_nothing_behind(tmp_path: Path) -> None:
    refused = toyfed(
        *("datasite", "init", "Castle", "--email", "castle@toys.test"),
        *("--share", tmp_path / "share", "--home", tmp_path / "odd", "--lifetime-epsilon", 2),
    )
    assert refused.exit_code == 3
    assert not (tmp_path / "odd").exists()


def test_a_lost_head_is_rebuilt(home: Path) -> None:
    (home / "private" / "ledger.head").unlink()
    assert verb(home, "--verify").exit_code == 4
    assert verb(home, "rebuild-head", "--by", "me").exit_code == 0
    assert verb(home, "--verify").exit_code == 0


@pytest.mark.attack
def test_what_shoppers_spent_at_an_earlier_datasite_counts_at_the_next(
    home: Path, tmp_path: Path
) -> None:
    book = Ledger.open(MerchantHome.open(home).ledger_path)
    spend(book, GaussianEvent("sums", 1.0, 5.0))
    file = tmp_path / "export.jsonl"
    assert verb(home, "export", file).exit_code == 0
    new = tmp_path / "new"
    words = (
        *("datasite", "init", "Castle", "--email", "castle2@toys.test"),
        *("--share", tmp_path / "share", "--home", new, "--spent-before", file),
    )
    made = toyfed(*words)
    assert made.exit_code == 0, made.output
    assert f"spent    epsilon {book.spent().epsilon:.4g} of it" in made.output

    after = Ledger.open(MerchantHome.open(new).ledger_path)
    assert after.spent() == book.spent()
    assert after.spent_by_study() == {EARLIER: book.spent()}
    assert after.available().mu < book.budget.epsilon
    again = tmp_path / "again.jsonl"
    after.export(again)
    assert verify_export(again).cost_of(verify_export(again).ever) == book.spent()


def test_an_export_that_does_not_verify_makes_no_datasite(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    verb(home, "export", file)
    file.write_text(file.read_text().replace("created", "crested"))
    made = toyfed(
        *("datasite", "init", "Castle", "--email", "castle2@toys.test"),
        *("--share", tmp_path / "share", "--home", tmp_path / "new", "--spent-before", file),
    )
    assert made.exit_code == 4
    assert not (tmp_path / "new").exists()


def spend(book: Ledger, event: GaussianEvent) -> None:
    code = "c" * 64
    book.request("toys", "toys", "ds@lab", code, code, {})
    book.approve(
        "toys",
        study="toys",
        sender="ds@lab",
        code_sha256=code,
        params_sha256=code,
        events=[event],
        rounds=1,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="me",
    )
    book.reserve("toys", "toys-job", "one", [event])
