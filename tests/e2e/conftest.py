"""Small marketplaces that really run: several processes, real PySyft, a temporary share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites.simulation import Story, StorySettings
from recsys.data import Marketplace, synthesize

os.environ.setdefault("PRE_SYNC", "false")


@pytest.fixture(scope="session")
def small_marketplace() -> Marketplace:
    return synthesize(None, merchants=3, shoppers=600, toys=80, seed=5)


@pytest.fixture
def open_story(tmp_path: Path, small_marketplace: Marketplace) -> Iterator[Callable[..., Story]]:
    """Open a story whose services are stopped at the end, whatever happens."""
    opened: list[Story] = []

    def make(**settings: object) -> Story:
        chosen = StorySettings(
            workdir=tmp_path / f"story-{len(opened)}",
            **{"rounds": 2, "epsilon": 8.0, **settings},  # type: ignore[arg-type]
        )
        story = Story(chosen, small_marketplace)
        opened.append(story)
        story.prepare_folder()
        story.open_datasites()
        story.open_study_desk()
        return story

    yield make
    for story in opened:
        story.close()
