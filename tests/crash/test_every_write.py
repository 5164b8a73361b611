"""A study in which the service, or the coordinator, stops before any single write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.crash.invariants import check_all
from tests.crash.market import SCIENTIST
from tests.crash.writes import Theatre

pytestmark = [pytest.mark.attack, pytest.mark.slow]
SHOP = "shop0@toys.test"


@pytest.fixture
def theatre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Theatre:
    made = Theatre(tmp_path / "market", monkeypatch)
    made.open()
    return made


def stop_at(theatre: Theatre, side: str, numbers: Iterable[int]) -> int:
    """Live a study for each number; returns in how many of them a run was lost."""
    lost = 0
    for n in numbers:
        gone = theatre.live(f"stop-{n}", side, n)
        assert gone.keys() <= {side}, "another merchant was hurt"
        assert sum(map(len, gone.values())) <= 1
        lost += bool(gone)
        if not theatre.stopped:
            break
    check_all(theatre)
    return lost


def writes_of(theatre: Theatre, side: str) -> int:
    theatre.live("whole", side, 10**9)
    assert not theatre.stopped
    return theatre.stops.count


@pytest.mark.parametrize("side", [SHOP, SCIENTIST])
def test_some_writes(theatre: Theatre, side: str) -> None:
    count = writes_of(theatre, side)
    assert count > 100
    lost = stop_at(theatre, side, range(3, count, count // 3))
    assert side == SHOP or not lost


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("side", [SHOP, SCIENTIST])
def test_every_write(theatre: Theatre, side: str) -> None:
    lost = stop_at(theatre, side, range(10_000))
    # Only between RESERVE and a kept release can a run be lost, in each of three phases.
    assert lost == 0 if side == SCIENTIST else 10 < lost < 100
