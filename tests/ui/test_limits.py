from __future__ import annotations

from ui.limits import Buckets, Rate


def test_a_burst_then_the_rate() -> None:
    now = [0.0]
    buckets = Buckets(Rate(per_second=2, burst=3), clock=lambda: now[0])
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("b") == 0
    now[0] = 0.5
    assert buckets.wait("a") == 0
    assert buckets.wait("a") == 0.5
    now[0] = 1000
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_clock_that_was_set_back_gives_nothing_away() -> None:
    now = [100.0]
    buckets = Buckets(Rate(1, 1), clock=lambda: now[0])
    assert buckets.wait("a") == 0
    now[0] = 0
    assert buckets.wait("a") > 0


def test_memory_is_bounded() -> None:
    buckets = Buckets(Rate(1, 1))
    for number in range(12_000):
        buckets.wait(str(number))
    assert len(buckets._found) <= 10_000
