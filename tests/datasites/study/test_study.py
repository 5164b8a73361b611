"""A study from study.toml to its proposal: wrong settings are named, sent ones stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datasites.errors import SettingsError
from datasites.merchant.code import is_identical
from datasites.recipes import recipe_named
from datasites.study import (
    ScientistHome,
    ScientistSettings,
    StudySettings,
    compose,
    new_study,
    parse_study,
    submit,
)
from recsys.data import Marketplace, write_catalogue
from recsys.federation import merge_names

STUDY: dict[str, Any] = {"study": {"name": "toys", "merchants": ["castle@toys.test"]}}


class Outbox:
    """A link that only remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def submit(self, merchant: str, name: str, _code: Path, params: dict[str, Any]) -> None:
        self.sent.append((merchant, name, params))

    def sync(self) -> None:
        pass


@pytest.fixture
def desk(tmp_path: Path, market: Marketplace) -> ScientistHome:
    made = ScientistHome.create(
        tmp_path / "ada", ScientistSettings(email="ada@science.test", share=str(tmp_path / "share"))
    )
    write_catalogue(made.catalogue, market.catalogue)
    return made


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("study", {"name": "Toys!"}),
        ("study", {"merchants": []}),
        ("study", {"merchants": ["a@b.c", "a@b.c"]}),
        ("study", {"colour": "red"}),
        ("privacy", {"epsilon": 0}),
        ("privacy", {"delta": 1}),
        ("privacy", {"unit": "purchase"}),
        ("federation", {"merge": "median"}),
        ("federation", {"patience_seconds": -1}),
    ],
)
def test_each_wrong_setting_is_named(section: str, values: dict[str, Any]) -> None:
    wrong = STUDY | {section: STUDY.get(section, {}) | values}
    with pytest.raises(SettingsError, match=rf"{section}\.{next(iter(values))}"):
        parse_study(wrong)


def test_two_wrong_settings_are_both_named() -> None:
    with pytest.raises(SettingsError, match=r"privacy\.epsilon.*federation\.merge"):
        parse_study(STUDY | {"privacy": {"epsilon": -1}, "federation": {"merge": "x"}})


@pytest.mark.parametrize("merge", merge_names())
def test_every_merge_can_be_asked_for(merge: str, desk: ScientistHome) -> None:
    wanted = STUDY | {"federation": {"merge": merge}}
    new_study(desk, parse_study(wanted))
    name = STUDY["study"]["name"]
    kept = StudySettings.read(desk.study(name) / "study.toml")
    assert kept.federation.merge == merge
    assert kept.model["release"] == ("statistics" if merge == "statistics" else "embeddings")


def test_a_release_that_the_merge_cannot_use_is_refused_before_anything_is_spent() -> None:
    for merge, release in (("support", "statistics"), ("statistics", "embeddings")):
        with pytest.raises(SettingsError, match="together with release = 'statistics'"):
            parse_study(STUDY | {"federation": {"merge": merge}, "model": {"release": release}})


def test_settings_come_back_from_their_file(tmp_path: Path) -> None:
    settings = parse_study(STUDY | {"model": {"rounds": 2}})
    settings.write(tmp_path / "study.toml")
    assert StudySettings.read(tmp_path / "study.toml") == settings
    (tmp_path / "study.toml").write_text("[study\n")
    with pytest.raises(SettingsError, match="TOML"):
        StudySettings.read(tmp_path / "study.toml")
    with pytest.raises(SettingsError, match="toyfed study new"):
        StudySettings.read(tmp_path / "none.toml")


def test_a_new_study_holds_the_recipes_code_and_every_setting(desk: ScientistHome) -> None:
    folder = new_study(desk, parse_study(STUDY | {"model": {"rounds": 2}}))
    assert is_identical(folder / "code", recipe_named("private-als").code)
    assert StudySettings.read(folder / "study.toml").model["factors"] > 0
    assert desk.names() == ["toys"]
    with pytest.raises(SettingsError, match="exists already"):
        new_study(desk, parse_study(STUDY))
    with pytest.raises(SettingsError, match="colour"):
        new_study(desk, parse_study(STUDY | {"model": {"colour": 1}}))
    with pytest.raises(SettingsError, match="private-als"):
        new_study(desk, parse_study({"study": STUDY["study"] | {"recipe": "magic"}}))


def test_a_proposal_is_sent_once_and_not_with_other_settings(desk: ScientistHome) -> None:
    folder = new_study(desk, parse_study(STUDY | {"model": {"rounds": 1}}))
    outbox = Outbox()
    proposal = submit(desk, outbox, "toys")
    assert submit(desk, outbox, "toys") == proposal == compose(desk, "toys")
    ((merchant, job, params),) = outbox.sent
    assert (merchant, job) == ("castle@toys.test", "toys-proposal")
    assert params == proposal.model_dump(mode="json")
    file = folder / "study.toml"
    file.write_text(file.read_text().replace("epsilon = 1.0", "epsilon = 0.5"))
    with pytest.raises(SettingsError, match="submitted with other settings"):
        submit(desk, outbox, "toys")
    assert len(outbox.sent) == 1


def test_a_missing_catalogue_and_a_bad_name_are_told(desk: ScientistHome) -> None:
    new_study(desk, parse_study(STUDY))
    desk.catalogue.unlink()
    with pytest.raises(SettingsError, match="--catalogue"):
        compose(desk, "toys")
    with pytest.raises(SettingsError, match="name"):
        compose(desk, "../toys")


def test_a_desk_is_made_once_and_opened_again(desk: ScientistHome, tmp_path: Path) -> None:
    assert ScientistHome.open(desk.root) == desk
    with pytest.raises(SettingsError, match="is one already"):
        ScientistHome.create(desk.root, desk.settings)
    with pytest.raises(SettingsError, match="toyfed study init"):
        ScientistHome.open(tmp_path / "none")
