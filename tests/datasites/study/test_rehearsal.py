"""A shipped recipe on mock purchases: every phase, in the sandbox, through the gate, merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datasites.errors import GateError, SandboxError, SettingsError
from datasites.merchant import sandbox
from datasites.recipes.private_als.recipe import PrivateALSRecipe
from datasites.study import ScientistHome, ScientistSettings, new_study, parse_study
from datasites.study.desk import compose
from datasites.study.rehearsal import rehearse
from recsys.data import synthesize, write_catalogue

pytestmark = pytest.mark.skipif(not sandbox.probe().available, reason="no sandbox here")


@pytest.fixture
def desk(tmp_path: Path) -> ScientistHome:
    made = ScientistHome.create(
        tmp_path / "ada", ScientistSettings(email="ada@science.test", share=str(tmp_path))
    )
    write_catalogue(made.catalogue, synthesize(None, merchants=1, shoppers=20, toys=40).catalogue)
    return made


def study(desk: ScientistHome, name: str, recipe: str, **model: Any) -> None:
    about = {"name": name, "recipe": recipe, "merchants": ["castle@toys.test"]}
    new_study(desk, parse_study({"study": about, "model": model}))


@pytest.mark.parametrize(
    ("recipe", "model"),
    [("private-als", {"rounds": 1, "factors": 4}), ("co-purchase", {})],
)
def test_every_phase_of_a_recipe_runs(
    desk: ScientistHome, tmp_path: Path, recipe: str, model: dict[str, Any]
) -> None:
    study(desk, "toys", recipe, **model)
    before = sorted(path for path in tmp_path.rglob("*"))
    found = list(rehearse(desk, "toys"))
    assert [one.phase for one in found] == [one.name for one in compose(desk, "toys").phases]
    assert all(one.sends_bytes > 0 and one.seconds > 0 and one.arrays for one in found)
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("raise SystemExit('the toys are gone')", SandboxError, r"phase counts.*the toys are gone"),
        ("pass", GateError, "phase counts, on mock purchases"),
    ],
)
def test_what_fails_says_where_and_what_its_log_says(
    desk: ScientistHome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    error: type[Exception],
    said: str,
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(f"{program}\n")
    study(desk, "toys", "private-als", rounds=1)
    monkeypatch.setattr(PrivateALSRecipe, "code", code)
    with pytest.raises(error, match=said):
        list(rehearse(desk, "toys"))


def test_programs_of_ones_own_are_tried_otherwise(desk: ScientistHome) -> None:
    study(desk, "mine", "custom")
    with pytest.raises(SettingsError, match="expected a shipped recipe"):
        list(rehearse(desk, "mine"))
