"""The points name functions that are there; without this, nobody would be killed."""

from __future__ import annotations

import importlib

import pytest

from tests.crash.points import targets


@pytest.mark.parametrize("target", targets())
def test_every_target_is_there(target: str) -> None:
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        assert hasattr(found, part), (
            f"{target} is gone: name its successor in tests/crash/points.py"
        )
        found = getattr(found, part)
