"""Old runs are pruned, and only what nobody can need; what peers cause is booked within bounds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.bulletin import Bulletin
from datasites.merchant.heartbeat import Heartbeat
from datasites.merchant.housekeeping import KEPT_RUNS, tidy_runs
from datasites.protocol import Proposal
from datasites.recipes import keeps_releases, recipe_named, recipe_names
from recsys.privacy import GaussianEvent

SHA = "0" * 64
FACTS = {"arrays": {}, "sha256": SHA, "bytes": 0}
EVENT = GaussianEvent("sums", 1.0, 1e4)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make_runs(
    empty_home: MerchantHome, ledger: Ledger, make_proposal: Callable[..., Proposal]
) -> Callable[..., list[Path]]:
    """Approve a study and run so many of its phases, `recipe` as its proposal says."""

    def make(study: str, count: int, recipe: str = "private-als") -> list[Path]:
        folder = empty_home.requests / study
        folder.mkdir()
        (folder / "proposal.json").write_text(json.dumps({"recipe": recipe}))
        ledger.request(f"{study}-proposal", study, "ada@science.test", SHA, SHA, {})
        ledger.approve(
            f"{study}-proposal",
            study=study,
            sender="ada@science.test",
            code_sha256=SHA,
            params_sha256=SHA,
            events=[EVENT] * count,
            rounds=count,
            expires=datetime.now(UTC) + timedelta(days=1),
            by="me",
        )
        return [run(study, number) for number in range(count)]

    def run(study: str, number: int) -> Path:
        job = f"{study}-{number}"
        folder = empty_home.runs / job
        folder.mkdir()
        for name in ("release.safetensors", "release.json", "log.txt", "outcome.json"):
            (folder / name).write_text("{}")
        os.utime(folder / "outcome.json", (number + 1, number + 1))
        ledger.reserve(study, job, f"phase-{number}", [EVENT])
        ledger.commit(job, FACTS)
        return folder

    return make


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_delivered_release_goes_and_its_log_stays_a_while(
    empty_home: MerchantHome, ledger: Ledger, make_runs: Callable[..., list[Path]]
) -> None:
    folders = make_runs("long", KEPT_RUNS + 10)
    assert tidy_runs(empty_home, ledger, lambda _job: True) == 10
    assert [folder.exists() for folder in folders] == [False] * 10 + [True] * KEPT_RUNS
    assert names(folders[-1]) == {"release.json", "log.txt", "outcome.json"}
    assert tidy_runs(empty_home, ledger, lambda _job: True) == 0


def test_what_may_still_be_sent_is_not_touched(
    empty_home: MerchantHome, ledger: Ledger, make_runs: Callable[..., list[Path]]
) -> None:
    folders = make_runs("long", KEPT_RUNS + 2)
    tidy_runs(empty_home, ledger, lambda job: job not in ("long-0", "long-51"))
    for folder in (folders[0], folders[51]):
        assert "release.safetensors" in names(folder)
    assert not folders[1].exists()


def test_a_run_under_way_is_not_touched(
    empty_home: MerchantHome, ledger: Ledger, make_runs: Callable[..., list[Path]]
) -> None:
    make_runs("long", 1)
    ledger.request("now-proposal", "now", "ada@science.test", SHA, SHA, {})
    ledger.approve(
        "now-proposal",
        study="now",
        sender="ada@science.test",
        code_sha256=SHA,
        params_sha256=SHA,
        events=[EVENT],
        rounds=1,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="me",
    )
    ledger.reserve("now", "now-0", "phase-0", [EVENT])
    folder = empty_home.runs / "now-0"
    folder.mkdir()
    (folder / "release.safetensors").write_text("kept before the commit")
    tidy_runs(empty_home, ledger, lambda _job: True)
    assert names(folder) == {"release.safetensors"}


def test_own_releases_stay_as_long_as_the_model_is_served(
    empty_home: MerchantHome, ledger: Ledger, make_runs: Callable[..., list[Path]]
) -> None:
    (folder,) = make_runs("sums", 1, recipe="co-purchase")
    current = empty_home.serving / "current.json"

    def kept() -> bool:
        tidy_runs(empty_home, ledger, lambda _job: True)
        return "release.safetensors" in names(folder)

    assert kept(), "approved: the model may still come"
    current.write_text(json.dumps({"study": "sums"}))
    ledger.revoke("sums", "me")
    assert kept(), "served"
    current.write_text("damaged")
    assert kept(), "it may be served"
    current.write_text(json.dumps({"study": "newer"}))
    assert not kept(), "another model is served"


def test_a_pruned_job_cannot_run_again(
    empty_home: MerchantHome, ledger: Ledger, make_runs: Callable[..., list[Path]]
) -> None:
    from datasites.errors import ReviewError

    make_runs("long", KEPT_RUNS + 1)
    tidy_runs(empty_home, ledger, lambda _job: True)
    with pytest.raises(ReviewError, match="run before"):
        ledger.reserve("long", "long-0", "phase-new", [EVENT])


@pytest.mark.parametrize("name", recipe_names())
def test_the_list_of_recipes_that_keep_releases_is_right(name: str) -> None:
    assert keeps_releases(name) == recipe_named(name).takes_out_own


def test_an_unknown_recipe_keeps_its_releases() -> None:
    assert keeps_releases("")
    assert keeps_releases("somebody's own")


@pytest.mark.attack
def test_a_peer_that_floods_fills_neither_ledger_nor_log(ledger: Ledger) -> None:
    clock = Clock()
    bulletin = Bulletin(ledger, clock)
    for number in range(5000):
        bulletin.tell("refused", "mallory@example.org", "nonsense", job=f"job-{number}")
        bulletin.tell("quarantine", "mallory@example.org", "unsigned")
    bulletin.tell("refused", "ada@science.test", "the code is not the approved one", job="toys-1")
    notes = [entry.body for entry in ledger.entries() if entry.note]
    assert [note["sender"] for note in notes].count("mallory@example.org") == 20
    assert notes[-1] == {
        "sender": "ada@science.test",
        "reason": "the code is not the approved one",
        "job": "toys-1",
    }
    clock.now += 3 * 3600
    bulletin.tell("quarantine", "mallory@example.org", "unsigned")
    assert ledger.entries()[-1].body["left_out_before"] == 10_000 - 20


def test_a_postponed_job_is_told_once(ledger: Ledger) -> None:
    bulletin = Bulletin(ledger)
    for _ in range(50):
        bulletin.tell("postponed", "ada@science.test", "the share is away", job="toys-1")
    assert len([entry for entry in ledger.entries() if entry.kind == "postponed"]) == 1


def test_the_heart_beats_at_once_when_something_changes_and_else_rarely(
    empty_home: MerchantHome,
) -> None:
    clock = Clock()
    heart = Heartbeat(empty_home, clock)
    seen = []
    for step in range(100):
        clock.now += 0.5
        heart.beat("troubled" if step == 50 else "running")
        seen.append(empty_home.heartbeat.stat().st_ino)
    assert json.loads(empty_home.heartbeat.read_text())["state"] == "running"
    writes = 1 + sum(before != after for before, after in pairwise(seen))
    assert 5 <= writes <= 8
    heart.beat("troubled", "disk full")
    assert json.loads(empty_home.heartbeat.read_text())["detail"] == "disk full"


@pytest.mark.slow
def test_the_log_of_fits_does_not_grow_for_ever(empty_home: MerchantHome) -> None:
    from datasites.errors import DatasiteError
    from datasites.merchant import fit

    log = empty_home.private / "fit.log"
    log.write_bytes(b"x" * 300_000)
    with pytest.raises(DatasiteError, match="could not be fitted"):
        fit.run_in_own_process(empty_home, "no-such-study")
    assert 0 < log.stat().st_size < 100_000
