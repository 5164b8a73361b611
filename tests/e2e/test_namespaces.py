"""A study whose parties each have a network of their own, over a bad line, with a partition."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites.merchant import MerchantHome
from datasites.simulation import Story, StorySettings
from datasites.simulation.processes import Services
from recsys.data import synthesize
from tests.e2e.books import check_books
from tests.servers import Server
from tests.servers.namespaces import CannotError, Town

pytestmark = [pytest.mark.e2e, pytest.mark.attack]
_PORT = 8080
_CUT_SECONDS = 6.0


class FarServices(Services):
    """Each merchant's service in a namespace of its own."""

    def __init__(self, logs: Path, town: Town) -> None:
        super().__init__(logs)
        self.town = town
        self.houses: dict[Path, str] = {}

    def command(self, home: MerchantHome) -> list[str]:
        if home.root not in self.houses:
            self.houses[home.root] = self.town.house()
        return [*self.town.inside(self.houses[home.root]), *super().command(home)]


@pytest.fixture
def town() -> Iterator[Town]:
    try:
        made = Town()
    except CannotError as why:
        pytest.skip(str(why))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def line(town: Town, tmp_path: Path) -> Iterator[Server]:
    """A WebDAV server in the square's namespace that can be reached over a relay alone."""
    server = Server("webdav", tmp_path / "server", town.inside(town.square))
    log = (tmp_path / "server" / "relay.log").open("ab")
    root = Path(__file__).parents[2]
    words = [town.address, str(_PORT), str(server.port), str(server.folder), "3"]
    try:
        server.start()
        relay = subprocess.Popen(
            [*town.inside(town.square), sys.executable, "-m", "tests.servers.relay", *words],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            until((server.folder / f"line-{relay.pid}").exists, 30)
            yield server
        finally:
            relay.kill()
            relay.wait()
    finally:
        log.close()
        server.kill()


def until(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain"
        time.sleep(0.05)


class Partition(threading.Thread):
    """Cuts a merchant off for some seconds; `reached`: did it get through before, and in it?"""

    def __init__(self, services: FarServices, home: MerchantHome) -> None:
        super().__init__(daemon=True)
        self.town, self.house = services.town, services.houses[home.root]
        self.reached = [self._reaches()]
        self.town.cut(self.house)

    def run(self) -> None:
        try:
            self.reached.append(self._reaches())
            time.sleep(_CUT_SECONDS)
        finally:
            self.town.mend(self.house)

    def _reaches(self) -> bool:
        knock = f"import socket; socket.create_connection(({self.town.address!r}, {_PORT}), 2)"
        command = [*self.town.inside(self.house), sys.executable, "-S", "-c", knock]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def test_a_study_outlives_a_bad_line_and_a_partition(
    town: Town, line: Server, tmp_path: Path
) -> None:
    marketplace = synthesize(None, merchants=2, shoppers=400, toys=80, seed=5)
    story = Story(StorySettings(workdir=tmp_path / "story", rounds=2, epsilon=8.0), marketplace)
    services = story.services = FarServices(story.services.logs, town)
    partition: Partition | None = None
    try:
        story.prepare_folder()
        story.share = f"webdav://{town.address}:{_PORT}/open"  # type: ignore[assignment]
        story.open_datasites()
        story.open_study_desk()
        story.submit_study()
        story.approve_study()
        assert len(set(services.houses.values())) == 2
        (line.folder / "bad").touch()
        delivered, told = set(), []
        for progress in story.run_study():
            told.append(progress.what)
            if progress.what == "delivered":
                delivered.add(progress.merchant)
            if progress.what == "phase" and told.count("phase") == 2:
                # Jobs are sent and no answer was read; whoever got its job last is cut off.
                partition = Partition(services, list(story.merchants.values())[-1])
                partition.start()
    finally:
        if partition is not None:
            partition.join()
        story.close()
    assert partition is not None
    assert partition.reached == [True, False]
    assert "dropped" not in told
    happened = (line.folder / "line.log").read_text().split()
    assert happened.count("reset") >= 3
    check_books(story, delivered)
