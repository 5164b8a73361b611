"""Services, coordinator and page killed at random: nothing lost, run twice or unbooked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.crash.market import Market
from tests.crash.points import targets
from tests.crash.soak import Soak

pytestmark = [pytest.mark.attack, pytest.mark.e2e]


def soak(folder: Path, merchants: int, kills: int) -> None:
    seed = time.time_ns() % 2**32
    print(f"seed {seed}")
    with Market(folder / "market", merchants=merchants, targets=targets()) as market:
        tally = Soak(market, seed).run(kills)
    print(tally)
    assert tally.kills.total() == kills
    assert tally.studies.total() >= 1


@pytest.mark.timeout(400)
def test_a_few_random_kills(tmp_path: Path) -> None:
    soak(tmp_path, merchants=2, kills=8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_random_kills(tmp_path: Path) -> None:
    soak(tmp_path, merchants=3, kills=200)
