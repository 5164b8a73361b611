"""Pairing and quarantine on the command line, over a real service pass and a real share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from datasites.syftbox import ScientistLink
from ui.cli import app

pytestmark = [pytest.mark.attack, pytest.mark.slow]
SHOP, DS = "castle@toys.test", "ada@science.test"


def toyfed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def facts(*words: object) -> Any:
    found = toyfed(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "castle"
    made = toyfed(
        *("datasite", "init", "Castle", "--email", SHOP),
        *("--share", tmp_path / "share", "--home", home),
    )
    assert made.exit_code == 0, made.output
    return home


@pytest.fixture
def desk(tmp_path: Path, home: Path) -> Path:
    desk = tmp_path / "desk"
    market = tmp_path / "toys"
    words = ("--merchants", 1, "--shoppers", 30, "--toys", 20)
    assert toyfed("data", "synthesize", market, *words).exit_code == 0
    made = toyfed(
        *("study", "init", "--email", DS, "--share", tmp_path / "share"),
        *("--catalogue", market / "items.csv", "--home", desk),
    )
    assert made.exit_code == 0, made.output
    return desk


def test_two_people_pair_by_words_and_part(home: Path, desk: Path) -> None:
    pair = ("datasite", "pair", "--home", home)
    asked = toyfed("study", "pair", SHOP, "--home", desk)
    assert "waiting for their key" in asked.stdout
    early = toyfed("study", "pair", SHOP, "--code", "any words", "--home", desk)
    assert (early.exit_code, "waiting for their key" in early.output) == (1, True)
    assert toyfed("datasite", "serve", "--once", "--home", home).exit_code == 0
    (here,) = facts(*pair)["peers"]
    (there,) = facts("study", "pair", "--home", desk)["peers"]
    assert here["code"] == there["code"]
    words = here["code"].split()
    assert all(word in toyfed(*pair).stdout for word in words)

    plain = toyfed(*pair, DS)
    assert (plain.exit_code, "--code" in plain.output) == (0, True)
    typo = toyfed(*pair, DS, "--code", " ".join([*words[:4], "zzzz", *words[5:]]))
    assert (typo.exit_code, "word 5" in typo.output) == (1, True)
    other = toyfed(*pair, DS, "--code", "zoo " * 12)
    assert (other.exit_code, "Do not pair" in other.output) == (1, True)
    assert toyfed(*pair, DS, "--code", here["code"].upper()).exit_code == 0
    assert toyfed("datasite", "serve", "--once", "--home", home).exit_code == 0
    assert facts(*pair)["peers"][0]["state"] == "accepted"
    done = toyfed("study", "pair", SHOP, "--code", there["code"], "--home", desk)
    assert (done.exit_code, "paired, compared" in done.stdout) == (0, True)

    new = toyfed("study", "new", "toys", "-m", SHOP, "--epsilon", "1", "--home", desk)
    assert new.exit_code == 0, new.output
    sent = toyfed("study", "submit", "toys", "--home", desk)
    assert (sent.exit_code, "In all: epsilon 1 at delta" in sent.stdout) == (0, True), sent.output
    again = toyfed("study", "submit", "toys", "--home", desk)
    assert (again.exit_code, "nothing was sent again" in again.stdout) == (0, True), again.output
    assert toyfed("datasite", "serve", "--once", "--home", home).exit_code == 0
    (request,) = facts("datasite", "requests", "--home", home)
    assert (request["study"], request["sender"]) == ("toys", DS)

    assert toyfed(*pair, "ad@science.test", "--revoke").exit_code == 1
    assert toyfed(*pair, DS, "--revoke").exit_code == 0
    assert facts(*pair)["peers"][0]["state"] == "revoked"


def test_a_changed_key_cannot_be_overlooked(home: Path, desk: Path, tmp_path: Path) -> None:
    pair = ("datasite", "pair", "--home", home)
    toyfed("study", "pair", SHOP, "--home", desk)
    toyfed("datasite", "serve", "--once", "--home", home)
    code = facts(*pair)["peers"][0]["code"]
    assert toyfed(*pair, DS, "--code", code).exit_code == 0
    toyfed("datasite", "serve", "--once", "--home", home)
    thief = ScientistLink(DS, tmp_path / "thief", str(tmp_path / "share"))
    thief.request_peer(SHOP)
    toyfed("datasite", "serve", "--once", "--home", home)
    listed = toyfed(*pair).stdout
    assert "IS NOT THE ONE YOU PAIRED WITH" in listed
    assert thief.own_fingerprint in listed
    assert f"toyfed datasite pair {DS} --revoke" in listed
    again = toyfed(*pair, DS, "--code", code)
    assert (again.exit_code, "another key" in again.output) == (1, True)


def test_what_was_refused_can_be_read_and_cleared(home: Path, desk: Path, tmp_path: Path) -> None:
    quarantine = ("datasite", "quarantine", "--home", home)
    assert "Nothing is in quarantine" in toyfed(*quarantine).stdout
    toyfed("study", "pair", SHOP, "--home", desk)
    toyfed("datasite", "serve", "--once", "--home", home)
    pair = ("datasite", "pair", "--home", home)
    toyfed(*pair, DS, "--code", facts(*pair)["peers"][0]["code"])
    toyfed("datasite", "serve", "--once", "--home", home)
    inbox = tmp_path / "share" / SHOP / "inbox" / DS
    (inbox / "msgv2_1.0_x.tar.gz").write_bytes(b"\x1b[2Jnoise <script>")
    toyfed("datasite", "serve", "--once", "--home", home)
    (entry,) = facts(*quarantine)
    assert (entry["sender"], entry["size"]) == (DS, 18)
    assert "signed with its sender's pinned key" in entry["reason"]
    # A narrow terminal breaks the reason over lines.
    listed = toyfed(*quarantine).stdout
    assert all(word in listed for word in ("expected", "encrypted", "signed"))
    shown = toyfed(*quarantine, "--show", entry["id"])
    assert shown.exit_code == 0
    assert "1b 5b 32 4a" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    for wrong in ("1", "../../keys/crypto_keys", "0" * 20):
        assert toyfed(*quarantine, "--show", wrong).exit_code == 3
    assert "Removed 1 entries" in toyfed(*quarantine, "--clear").stdout
    assert facts(*quarantine) == []


def test_doctor_sees_keys_that_others_can_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOYFED_DATASITE", str(home))
    toyfed("datasite", "serve", "--once", "--home", home)
    assert '"keys in castle"' in toyfed("doctor", "--json").stdout
    keys = home / "private" / "keys" / "crypto_keys.json"
    keys.chmod(0o644)
    (row,) = [
        one for one in json.loads(toyfed("doctor", "--json").stdout) if "keys" in one["check"]
    ]
    assert not row["ok"]
    assert "crypto_keys.json is open to others (mode 0644, expected 0600)" in row["found"]
    toyfed("datasite", "serve", "--once", "--home", home)
    assert keys.stat().st_mode & 0o777 == 0o600
