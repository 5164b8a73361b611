"""`toyfed recipes`: the list, one page, and a name that there is not."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from datasites.recipes import recipe_named, recipe_names
from ui.cli import app


def test_the_list_names_every_recipe() -> None:
    found = CliRunner().invoke(app, ["recipes"])
    assert found.exit_code == 0
    assert all(name in found.output for name in recipe_names())
    listed = CliRunner().invoke(app, ["recipes", "--json"])
    assert [page["name"] for page in json.loads(listed.stdout)] == recipe_names()


@pytest.mark.parametrize("name", recipe_names())
def test_a_page_shows_the_settings_with_their_defaults(name: str) -> None:
    found = CliRunner().invoke(app, ["recipes", name])
    assert found.exit_code == 0
    assert "When to choose it" in found.output
    assert all(setting in found.output for setting in recipe_named(name).complete({}))


def test_an_unknown_recipe_is_refused_by_name() -> None:
    found = CliRunner().invoke(app, ["recipes", "soup"])
    assert found.exit_code == 1
    assert "'soup'" in found.output
