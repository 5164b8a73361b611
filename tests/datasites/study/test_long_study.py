"""Many rounds: what a study leaves in the share and on the scientist's disk does not add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from datasites.protocol import Proposal
from datasites.study import Coordinator, ScientistHome, ScientistSettings, new_study, parse_study
from datasites.study.desk import submit
from datasites.syftbox.types import Reply
from recsys.data import Marketplace, write_catalogue

MERCHANTS = ["castle@toys.test", "harbour@toys.test"]
ROUNDS = 30


class Merchants:
    """A link whose merchants approve everything and answer at once with zeros."""

    def __init__(self) -> None:
        self.proposal: Proposal
        self.published: set[str] = set()
        self.kept: set[tuple[str, str]] = set()

    def sync(self) -> None:
        pass

    def publish_state(self, name: str, _files: dict[str, bytes], _recipients: list[str]) -> str:
        self.published.add(name)
        return "0" * 64

    def delete_state(self, name: str) -> None:
        self.published.discard(name)

    def submit(self, merchant: str, job: str, _code: Path, params: dict[str, Any]) -> None:
        if params["kind"] == "proposal":
            self.proposal = Proposal.model_validate(params)
        else:
            self.kept.add((merchant, job))

    def reply(self, _merchant: str, job: str) -> Reply:
        phase = job.removeprefix(f"{self.proposal.study}-")
        if phase in ("proposal", "result"):
            return Reply("done", "", {})
        arrays = {
            spec.name: np.zeros(spec.shape, spec.dtype)
            for spec in self.proposal.phase(phase).outputs
        }
        return Reply("done", "", {"release.safetensors": save(arrays)})

    def forget(self, merchant: str, job: str) -> None:
        self.kept.discard((merchant, job))


@pytest.fixture
def study(tmp_path: Path, market: Marketplace) -> tuple[Coordinator, Merchants]:
    settings = ScientistSettings(email="ada@science.test", share=str(tmp_path / "share"))
    home, link = ScientistHome.create(tmp_path / "ada", settings), Merchants()
    write_catalogue(home.catalogue, market.catalogue)
    wanted = {
        "study": {"name": "long", "recipe": "private-als", "merchants": MERCHANTS},
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "model": {"rounds": ROUNDS, "factors": 2},
    }
    new_study(home, parse_study(wanted))
    submit(home, link, "long")  # type: ignore[arg-type]
    return Coordinator(home, link, "long"), link  # type: ignore[arg-type]


def test_nothing_adds_up_over_the_rounds(study: tuple[Coordinator, Merchants]) -> None:
    coordinator, link = study
    states, published, kept, updates = [], [], [], []
    for progress in coordinator.run():
        if progress.what == "merged" and progress.phase.startswith("als-"):
            checkpoint = json.loads((coordinator.folder / "checkpoint.json").read_text())
            states.append((coordinator.folder / checkpoint["state"]).stat().st_size)
            published.append(len(link.published))
            kept.append(len(link.kept))
            updates.append(len(list((coordinator.folder / "updates").glob("*/*"))))
    assert len(states) == ROUNDS
    assert max(states[2:]) - min(states[2:]) < 64, "the checkpoint grows"
    assert set(published) == {0}, "states of finished rounds stay in the share"
    assert set(kept) == {0}, "answers to finished rounds stay on the disk"
    assert updates[-1] == updates[-5] == 20 * len(MERCHANTS)
    assert not link.published
    assert link.kept == {(merchant, "long-result") for merchant in MERCHANTS}


def test_what_a_crash_left_is_removed_by_the_next_run(
    study: tuple[Coordinator, Merchants],
) -> None:
    coordinator, link = study
    for progress in coordinator.run():
        if progress.what == "merged" and progress.phase == "als-3":
            break
    # Killed between the checkpoint and the tidying.
    link.published.add("long-als-3")
    link.kept |= {(merchant, "long-als-3") for merchant in MERCHANTS}
    next(iter(coordinator.run()))
    assert "long-als-3" not in link.published
    assert not any(job == "long-als-3" for _, job in link.kept)
