"""Whoever waits is at most 5 % late; whoever has nothing to do hardly asks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.heartbeat import has_come_up
from datasites.pace import Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_asks_often_first_and_then_ever_less() -> None:
    clock = Clock()
    pace = Pace(0.5, clock)
    asked = 0
    while clock.now < 3600:
        seconds = pace.seconds()
        assert 0.5 <= seconds <= 5.0
        assert seconds == 0.5 or seconds <= clock.now / 20 or seconds == 5.0
        clock.now += seconds
        asked += 1
    assert asked < 3600 / 5 * 1.2
    pace.moved()
    assert pace.seconds() == 0.5


@pytest.mark.slow
def test_a_service_that_waits_ends_at_once_when_asked(home: MerchantHome, ledger: Ledger) -> None:
    slow = home.settings.model_copy(update={"poll_seconds": 60.0})
    settings = home.root / "merchant.toml"
    settings.write_text(settings.read_text().replace("poll_seconds = 0.5", "poll_seconds = 60.0"))
    assert MerchantHome.open(home.root).settings == slow
    process = subprocess.Popen([sys.executable, "-m", "datasites.merchant", str(home.root)])
    try:
        deadline = time.monotonic() + 60
        while not has_come_up(home):
            assert time.monotonic() < deadline, "it did not come up"
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
