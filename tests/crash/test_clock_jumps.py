"""A clock set 400 days forward or back at any step: nothing is lost, run twice or given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.clocks import jump_clocks
from tests.crash.market import Market
from tests.crash.points import targets

pytestmark = [pytest.mark.attack, pytest.mark.e2e]


@pytest.mark.timeout(300)
def test_clocks_jump_at_every_step(tmp_path: Path) -> None:
    with Market(tmp_path / "market", targets=targets(), loose_clocks=True) as market:
        jumps = jump_clocks(market)
    assert {jump.seconds > 0 for jump in jumps} == {True, False}
