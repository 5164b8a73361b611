"""The soak measures what it says, and a tiny one of real processes keeps every promise of files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak import run_rounds
from benchmarks.soak_measure import counted_requests, process_state, shortest, tree_size
from benchmarks.soak_verdict import draw, judge_rounds, trend
from datasites.syftbox.store import ObjectStore


def rows(count: int, **grows: float) -> list[dict[str, Any]]:
    """Rounds of a market in which nothing grows but what `grows` says, by so much a round."""
    steady = {
        "latency": 2.0,
        "overhead": 0.5,
        "service_cpu": 0.1,
        "rss_mb": 100.0,
        "coordinator_rss_mb": 200.0,
        "open_files": 8,
        "share_bytes": 60_000,
        "home_bytes": 300_000,
        "home_files": 90,
        "scientist_bytes": 500_000,
        "run_folders": 50,
    }
    return [
        {"phase": f"als-{number}"}
        | {name: value + number * grows.get(name, 0.0) for name, value in steady.items()}
        for number in range(count)
    ]


def broken(found: list[dict[str, Any]]) -> list[str]:
    return [one.promise for one in judge_rounds(found) if not one.holds]


def test_a_steady_market_keeps_every_promise() -> None:
    assert broken(rows(200)) == []


@pytest.mark.parametrize(
    ("column", "growth", "word"),
    [
        ("latency", 0.01, "latency"),
        ("service_cpu", 0.001, "processor"),
        ("rss_mb", 0.2, "growth in memory"),
        ("coordinator_rss_mb", 0.2, "coordinator"),
        ("share_bytes", 400, "share"),
        ("home_bytes", 10_000, "merchant's disk"),
        ("home_files", 3, "merchant's files"),
        ("scientist_bytes", 9_000, "scientist's disk"),
        ("run_folders", 1, "old runs"),
        ("open_files", 0.1, "open files"),
    ],
)
def test_what_grows_is_found(column: str, growth: float, word: str) -> None:
    found = broken(rows(200, **{column: growth}))
    assert any(word in promise for promise in found), found


def test_a_few_slow_rounds_do_not_look_like_growth() -> None:
    found = rows(200)
    for number in (3, 50, 180, 185):
        found[number]["latency"] = 60.0
    assert trend(found, "latency").slope == pytest.approx(0.0)
    assert broken(found) == []


def test_turns_are_taken_into_account() -> None:
    assert shortest([1.0, 1.0, 1.0, 1.0], slots=2) == 2.0
    assert shortest([3.0, 1.0, 1.0, 1.0], slots=2) == 3.0
    assert shortest([2.0], slots=8) == 2.0


def test_this_process_is_measured() -> None:
    before = process_state(os.getpid())
    until = time.process_time() + 0.1
    with Path(os.devnull).open("rb"):
        while time.process_time() < until:
            pass
        after = process_state(os.getpid())
    assert after.open_files == before.open_files + 1
    assert after.cpu_seconds - before.cpu_seconds >= 0.05
    assert 10 < after.rss_mb <= after.peak_mb < 10_000


def test_files_and_requests_are_counted(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    with counted_requests() as counts:
        store.put("a/b", b"12345")
        store.get("a/b", 100)
        store.files("a")
    store.delete("c")
    assert counts == {"put": 1, "get": 1, "files": 1, "folders": 0, "delete": 0}
    assert vars(tree_size(tmp_path)) == {"files": 1, "bytes": 5}


@pytest.mark.e2e
def test_a_tiny_soak_of_real_processes(tmp_path: Path) -> None:
    part = run_rounds(tmp_path / "market", merchants=2, count=3)
    assert [row["phase"] for row in part["rows"]] == [
        "counts",
        "als-1",
        "als-2",
        "als-3",
        "quality",
        "model",
        "served",
    ]
    held = {one["promise"]: one["holds"] for one in part["findings"]}
    # Figures of seconds depend on what else this machine does; these do not.
    for promise in (
        "share at most",
        "a merchant's service when idle",
        "a service's growth in memory",
        "open files, last less first",
        "folders of old runs",
    ):
        assert held[promise], part["findings"]
    assert all(row["rss_mb"] > 30 for row in part["rows"])
    assert all(all(seconds > 0 for seconds in row["computation"]) for row in part["rows"][:5])
    assert any("ledger" in row for row in part["rows"])
    draw(part["rows"], tmp_path / "soak.png", "tiny")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
