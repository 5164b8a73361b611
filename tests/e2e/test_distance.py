"""The whole study over real servers, one of them killed in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from datasites.simulation import Story, StorySettings
from datasites.simulation.story import _slug
from recsys.data import Marketplace
from tests.e2e.books import check_books
from tests.servers import Server, start_server

pytestmark = pytest.mark.e2e


@pytest.fixture
def open_story_at(tmp_path: Path, small_marketplace: Marketplace):
    """A story whose parties meet on a server; everything is stopped at the end."""
    closing: list[Callable[[], None]] = []

    def make(kind: str) -> tuple[Story, Server]:
        server = start_server(kind, tmp_path / "server")
        closing.append(server.kill)
        story = Story(
            StorySettings(workdir=tmp_path / "story", rounds=2, epsilon=8.0), small_marketplace
        )
        closing.append(story.close)
        story.prepare_folder()
        story.share = server.share  # type: ignore[assignment]
        root = story.settings.workdir
        names = [f"merchants/{_slug(name)}" for name in small_marketplace.shops]
        for home in [*names, "scientist"]:
            private = root / home / "private"
            private.mkdir(parents=True, mode=0o700)
            (private / "share-options.toml").write_text(tomli_w.dumps(server.options))
        story.open_datasites()
        story.open_study_desk()
        story.submit_study()
        story.approve_study()
        return story, server

    yield make
    for close in reversed(closing):
        close()


@pytest.mark.parametrize(
    ("kind", "killed"),
    [
        pytest.param("s3", False, marks=pytest.mark.soak),
        pytest.param("sftp", True, marks=pytest.mark.soak),
        pytest.param("gdrive", True, marks=pytest.mark.soak),
        ("webdav", True),
    ],
)
def test_a_study_over_a_server_is_served_and_nothing_runs_twice(
    open_story_at: Callable[[str], tuple[Story, Server]], kind: str, killed: bool
) -> None:
    story, server = open_story_at(kind)
    delivered = set()
    for progress in story.run_study():
        if progress.what == "delivered":
            delivered.add(progress.merchant)
        if progress.what == "answer" and killed:
            killed = False
            server.kill()
            server.start()
    assert not killed
    check_books(story, delivered)
    for home in story.merchants.values():
        # Nothing of the sign-in is in what may be shown.
        shown = (home.root / "merchant.toml").read_text() + home.heartbeat.read_text()
        assert not any(value in shown for name, value in server.options.items() if "pass" in name)
