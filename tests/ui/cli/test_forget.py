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
    assert json.loads(again.output) == {"was_here": False, "shop_open": False}
    assert "--replace" in toyfed("datasite", *add, "-H", place).output
    assert "1 shopper" in toyfed("datasite", *add, "--replace", "-H", place).output
    assert toyfed("datasite", "forget", "-H", place, told="\n").exit_code == 2
