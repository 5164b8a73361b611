"""Forgetting by command: the id is no argument, and nothing repeats it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ui.cli.app import app


def toyfed(*words: object, told: str = "") -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], input=told)


def test_a_shopper_is_forgotten(tmp_path: Path) -> None:
    place = tmp_path / "castle"
    (tmp_path / "items.csv").write_text("item_id,title\na,Train\nb,Bear\n")
    bought = "shopper_id,item_id,position\nkim,a,0\nkim,b,1\nlee,a,0\n"
    (tmp_path / "bought.csv").write_text(bought)
    add = ("add-data", tmp_path / "bought.csv", "--catalogue", tmp_path / "items.csv")
    for words in (("init", "Castle", "--email", "c@toys.test", "--share", tmp_path / "s"), add):
        assert toyfed("datasite", *words, "-H", place).exit_code == 0
    done = toyfed("datasite", "forget", "-H", place, told="kim\n")
    assert done.exit_code == 0, done.output
    assert "are gone" in done.output
    assert "kim" not in done.output
    again = toyfed("datasite", "forget", "-H", place, "--json", told="kim\n")
    assert json.loads(again.output) == {"asked": 1, "found": 0, "shop_open": False}
    assert "--replace" in toyfed("datasite", *add, "-H", place).output
    assert "1 shopper" in toyfed("datasite", *add, "--replace", "-H", place).output
    assert toyfed("datasite", "forget", "-H", place, told="\n").exit_code == 2
    several = toyfed("datasite", "forget", "-H", place, told="zoe\n\n lee \n")
    assert "1 of 2 shoppers are gone" in several.output
    marked = toyfed("datasite", "forget", "-H", place, "--json", told="\ufeffann\u2028kim\n")
    assert json.loads(marked.output)["asked"] == 1
    back = toyfed("datasite", "forget", "--take-back", "-H", place, told="kim\nann\n")
    assert "1 of 2 had asked" in back.output


def test_a_datasite_that_follows_takes_over_who_was_forgotten(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\na,Train\nb,Bear\n")
    (tmp_path / "bought.csv").write_text("shopper_id,item_id,position\nkim,a,0\nlee,a,0\n")
    add = ("add-data", tmp_path / "bought.csv", "--catalogue", tmp_path / "items.csv")
    init = ("init", "Castle", "--email", "c@toys.test", "--share", tmp_path / "s")
    assert toyfed("datasite", *init, "-H", tmp_path / "old").exit_code == 0
    assert toyfed("datasite", "forget", "-H", tmp_path / "old", told="kim\n").exit_code == 0
    made = toyfed("datasite", *init, "-H", tmp_path / "new", "--forgotten-from", tmp_path / "old")
    assert "left out 1 who asked" in made.output
    assert "1 shopper" in toyfed("datasite", *add, "-H", tmp_path / "new").output


def test_a_list_that_cannot_be_taken_over_leaves_no_half_datasite(tmp_path: Path) -> None:
    init = ("datasite", "init", "Castle", "--email", "c@toys.test", "--share", tmp_path / "s", "-H")
    assert toyfed(*init, tmp_path / "old").exit_code == 0
    assert toyfed("datasite", "forget", "-H", tmp_path / "old", told="kim\n").exit_code == 0
    key = tmp_path / "old" / "private" / "keys" / "forget.key"
    kept = key.read_bytes()
    key.unlink()
    follow = (*init, tmp_path / "new", "--forgotten-from", tmp_path / "old")
    assert "forget.key" in toyfed(*follow).output
    assert not (tmp_path / "new").exists()
    key.write_bytes(kept)
    key.chmod(0o600)
    assert toyfed(*follow).exit_code == 0
