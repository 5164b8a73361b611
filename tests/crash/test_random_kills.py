"""Services, coordinator and page killed at random: nothing lost, run twice or unbooked.

A few of them here; `make soak` kills two hundred times (`python -m tests.crash --random 200`)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.crash.soak import kill_at_random

pytestmark = [pytest.mark.attack, pytest.mark.e2e]


@pytest.mark.timeout(400)
def test_a_few_random_kills(tmp_path: Path) -> None:
    tally = kill_at_random(tmp_path, merchants=2, kills=8, seed=time.time_ns() % 2**32)
    print(tally)
