"""Patience, an unreachable share, half-made files: the coordinator over a link of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from datasites.errors import DatasiteError, PeerError, SettingsError, TransportError
from datasites.protocol import Phase
from datasites.study import (
    Coordinator,
    Progress,
    ScientistHome,
    ScientistSettings,
    coordinator,
    new_study,
    parse_study,
    submit,
)
from datasites.syftbox import parcels
from datasites.syftbox.types import Reply
from recsys.data import Marketplace, write_catalogue

CASTLE, HARBOUR = "castle@toys.test", "harbour@toys.test"
PATIENCE = 60.0


class Link:
    """Merchants that answer at once, unless told otherwise; a share that may be away."""

    def __init__(self, phases: Callable[[str], Phase]) -> None:
        self._phases = phases
        self.silent: set[str] = set()
        self.strangers: set[str] = set()
        self.away_for = 0
        self.away_at = ""
        self.sent: list[tuple[str, str]] = []
        self.published: list[tuple[str, dict[str, bytes], list[str]]] = []

    def _touch(self, what: str) -> None:
        if what == self.away_at and self.away_for > 0:
            self.away_for -= 1
            raise TransportError("the share cannot be reached")

    def sync(self) -> None:
        self._touch("sync")

    def submit(self, merchant: str, job: str, _code: Path, _params: dict[str, Any]) -> None:
        self._touch("submit")
        if merchant in self.strangers:
            raise PeerError(f"the share shows another key for {merchant}")
        self.sent.append((merchant, job))

    def publish_state(self, name: str, files: dict[str, bytes], recipients: list[str]) -> str:
        self._touch("publish")
        self.published.append((name, files, recipients))
        return "0" * 64

    def delete_state(self, _name: str) -> None:
        self._touch("delete")

    def forget(self, _merchant: str, _job: str) -> None:
        pass

    def reply(self, merchant: str, job: str) -> Reply:
        phase = job.removeprefix("toys-")
        if phase in ("proposal", "result"):
            return Reply("done", "", {})
        if merchant in self.silent:
            return Reply("waiting", "", {})
        arrays = {one.name: np.ones(one.shape, one.dtype) for one in self._phases(phase).outputs}
        return Reply("done", "", {"release.safetensors": save(arrays)})


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps = 0
        self.at_nap: Callable[[int], None] = lambda _: None

    def sleep(self, _seconds: float) -> None:
        self.now += 10.0
        self.naps += 1
        self.at_nap(self.naps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(coordinator, "time", SimpleNamespace(sleep=made.sleep))
    return made


@pytest.fixture
def study(tmp_path: Path, market: Marketplace, clock: Clock) -> Coordinator:
    home = ScientistHome.create(
        tmp_path / "ada", ScientistSettings(email="ada@science.test", share=str(tmp_path / "s"))
    )
    write_catalogue(home.catalogue, market.catalogue)
    settings = {
        "study": {"name": "toys", "merchants": [CASTLE, HARBOUR]},
        "model": {"rounds": 1, "factors": 4},
        "federation": {"patience_seconds": PATIENCE},
    }
    new_study(home, parse_study(settings))
    link = Link(lambda phase: made.proposal.phase(phase))
    submit(home, link, "toys")  # type: ignore[arg-type]
    made = Coordinator(home, link, "toys", clock=lambda: clock.now)  # type: ignore[arg-type]
    return made


def words(events: list[Progress]) -> list[str]:
    return [event.what for event in events]


def test_who_does_not_answer_in_time_is_left_out(study: Coordinator, clock: Clock) -> None:
    study.link.silent.add(HARBOUR)  # type: ignore[attr-defined]
    events = [*study.run()]
    assert [(one.phase, one.merchant) for one in events if one.what == "dropped"] == [
        (phase.name, HARBOUR) for phase in study.proposal.phases
    ]
    assert study.checkpoint()["contributors"]["counts"] == [CASTLE]
    assert clock.naps >= 3 * PATIENCE / 10


@pytest.mark.parametrize("at", ["sync", "publish", "submit", "delete"])
def test_a_share_that_is_away_is_waited_for_and_costs_no_patience(
    study: Coordinator, clock: Clock, at: str
) -> None:
    study.link.away_at = at  # type: ignore[attr-defined]
    study.link.away_for = 50  # type: ignore[attr-defined]
    events = [*study.run()]
    assert words(events).count("away") == words(events).count("back") == 1
    told = next(event for event in events if event.what == "away")
    assert "the share cannot be reached" in told.detail
    assert clock.now > 5 * PATIENCE
    assert "dropped" not in words(events)
    assert study.checkpoint()["delivered"] == [CASTLE, HARBOUR]


def test_an_outage_while_waiting_leaves_nobody_out(study: Coordinator, clock: Clock) -> None:
    link: Any = study.link
    link.silent.add(HARBOUR)

    def goes_away_then_answers(nap: int) -> None:
        if nap == 2:
            link.away_at, link.away_for = "sync", 30
        if nap == 34:
            link.silent.clear()

    clock.at_nap = goes_away_then_answers
    events = [*study.run()]
    assert "dropped" not in words(events)
    assert "away" in words(events)


def test_an_answer_that_lies_there_is_taken_before_patience_is_looked_at(
    study: Coordinator, clock: Clock
) -> None:
    link: Any = study.link
    link.silent.add(HARBOUR)

    def slept_long(nap: int) -> None:
        if nap == 1:  # this machine was asleep for a day, and the answer came meanwhile
            clock.now += 86400
            link.silent.clear()

    clock.at_nap = slept_long
    assert "dropped" not in words([*study.run()])


def test_half_made_files_of_a_killed_run_are_not_sent(study: Coordinator) -> None:
    artefact = study.folder / "artefact"
    artefact.mkdir()
    (artefact / ".manifest.json.abc.tmp").write_text("{")
    (study.folder / ".checkpoint.json.abc.tmp").write_text("{")
    [*study.run()]
    name, files, _ = study.link.published[-1]  # type: ignore[attr-defined]
    assert name == "toys-result"
    assert "MODEL_CARD.md" in files
    assert not [file for file in files if file.startswith(".")]
    assert not [*study.folder.glob(".checkpoint*")]


def test_what_was_sent_is_not_sent_again(study: Coordinator) -> None:
    events = study.run()
    for event in events:
        if event.what == "answer" and event.phase == "als-1":
            break
    events.close()  # type: ignore[attr-defined]
    link: Any = study.link
    already = list(link.sent)
    [*study.run()]
    assert len(link.sent) == len(set(link.sent))
    assert link.sent[: len(already)] == already


def test_a_state_that_is_too_large_ends_the_run_and_is_not_tried_for_ever(
    study: Coordinator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "PARCEL_BYTES", 1024 * 1024 + 100)
    link: Any = study.link
    publish = link.publish_state

    def packed(name: str, files: dict[str, bytes], recipients: list[str]) -> Any:
        parcels.pack_parcel(files)
        return publish(name, files, recipients)

    monkeypatch.setattr(link, "publish_state", packed)
    with pytest.raises(SettingsError, match="fewer factors"):
        list(study.run())
    assert clock.naps == 0


def test_two_runs_at_once_are_refused(study: Coordinator) -> None:
    first = study.run()
    next(first)
    other = Coordinator(study.home, study.link, "toys")
    with pytest.raises(DatasiteError, match="another process runs it"):
        next(other.run())
    first.close()  # type: ignore[attr-defined]
    next(other.run())


def test_a_merchant_whose_key_changed_is_left_out_at_once_and_the_others_go_on(
    study: Coordinator, clock: Clock
) -> None:
    link: Any = study.link
    link.strangers.add(HARBOUR)
    events = [*study.run()]
    assert [(one.phase, one.merchant) for one in events if one.what == "dropped"] == [
        *((phase.name, HARBOUR) for phase in study.proposal.phases),
        ("result", HARBOUR),
    ]
    assert "another key" in next(one.detail for one in events if one.what == "dropped")
    assert study.checkpoint()["delivered"] == [CASTLE]
    assert clock.naps == 0
