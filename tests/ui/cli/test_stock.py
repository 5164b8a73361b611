"""What is in stock, said by command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ui.cli.app import app


def toyfed(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "castle"
    (tmp_path / "items.csv").write_text("item_id,title\na,Train\nb,Bear\nc,Kite\n")
    (tmp_path / "bought.csv").write_text("shopper_id,item_id,position\nkim,a,0\nkim,b,1\n")
    for words in (
        (*("init", "Castle", "--email", "c@toys.test"), "--share", tmp_path / "share"),
        ("add-data", tmp_path / "bought.csv", "--catalogue", tmp_path / "items.csv"),
    ):
        done = toyfed("datasite", *words, "--home", place)
        assert done.exit_code == 0, done.output
    return place


def test_stock_is_told_and_changed(home: Path, tmp_path: Path) -> None:
    assert "3 of 3 toys are in stock. No list" in toyfed("datasite", "stock", "-H", home).output
    (tmp_path / "stock.csv").write_text("item_id,quantity\na,4\nb,0\nz,1\n")
    done = toyfed("datasite", "stock", tmp_path / "stock.csv", "-H", home, "--json")
    assert json.loads(done.output) == {"toys": 3, "in_stock": 1, "other_rows": 1}


def test_a_list_of_no_toy_changes_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text("item_id\nz\n")
    done = toyfed("datasite", "stock", tmp_path / "stock.csv", "-H", home)
    assert done.exit_code == 1
    assert "none of them" in done.stderr
    assert json.loads(toyfed("datasite", "stock", "-H", home, "--json").output)["in_stock"] == 3
