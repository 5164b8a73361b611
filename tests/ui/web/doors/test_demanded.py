from __future__ import annotations

import re
from pathlib import Path

import pytest

import ui.web
from ui.web.doors import Action

SOURCES = [
    path.read_text(encoding="utf-8")
    for path in Path(ui.web.__file__).parent.rglob("*.py")
    if path.name != "roles.py"
]


@pytest.mark.attack
@pytest.mark.parametrize("action", list(Action), ids=lambda one: one.name)
def test_every_action_is_checked_somewhere(action: Action) -> None:
    check = re.compile(rf"\b(demand|may|at_demand)\([^()]*Action\.{action.name}\b")
    assert any(check.search(text) for text in SOURCES)
