"""The state that a merchant lets in is the one that recipes really make, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from datasites.errors import ReviewError
from datasites.merchant import Ledger, MerchantHome, desk, runs
from datasites.merchant.service import Service
from datasites.protocol import Phase, Proposal, Round, StateRef
from datasites.recipes import recipe_named
from datasites.recipes.states import StateArray, state_arrays
from datasites.syftbox.types import Submission
from recsys.data import Marketplace
from recsys.federation import Update
from recsys.privacy import Budget
from tests.datasites.merchant.test_service import Link

SETTINGS: dict[str, dict[str, Any]] = {
    "private-als": {"rounds": 2, "factors": 3},
    "co-purchase": {"pairs_per_toy": 4},
    "neural": {"rounds": 2, "steps": 2, "features": 24, "hidden": 5, "factors": 3},
}


def updates(phase: Phase) -> list[Update]:
    chance = np.random.default_rng(len(phase.name))
    return [
        Update(
            arrays={
                spec.name: chance.uniform(1, 9, spec.shape).astype(spec.dtype)
                for spec in phase.outputs
            },
            weight=1.0,
            events=phase.privacy_events(),
            merchant=f"m{number}@toys.test",
        )
        for number in range(2)
    ]


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_recipe_sends_is_what_merchants_let_in(
    market: Marketplace, home: MerchantHome, name: str
) -> None:
    recipe, n_items = recipe_named(name), market.catalogue.n_items
    settings = recipe.complete(SETTINGS[name])
    state = recipe.initial_state(settings, n_items)
    state |= recipe.public_arrays(settings, market.catalogue)
    for phase in recipe.phases(settings, Budget(1.0, 1e-5), n_items):
        expected = state_arrays(name, phase, settings, n_items)
        assert expected is not None
        folder = home.runs / phase.name / "inputs" / "state"
        folder.mkdir(parents=True)
        if sent := recipe.state_for(phase.name, state):
            save_file(sent, folder / "state.safetensors")
        runs.check_state(home, phase.name, expected)
        assert bool(sent) == bool(expected)
        state = recipe.merge(phase.name, updates(phase), state, settings, "fedavg")


def test_programs_have_a_state_of_their_own() -> None:
    phase = recipe_named("custom").phases(recipe_named("custom").complete({}), Budget(1, 1e-5), 9)
    assert state_arrays("custom", phase[0], {}, 9) is None
    assert state_arrays("not-shipped", phase[0], {}, 9) is None


def arrays_of(name: str, phase: str, n_items: int = 5) -> tuple[StateArray, ...]:
    recipe = recipe_named(name)
    settings = recipe.complete(SETTINGS[name])
    phases = {one.name: one for one in recipe.phases(settings, Budget(1.0, 1e-5), n_items)}
    found = state_arrays(name, phases[phase], settings, n_items)
    assert found
    return found


GOOD = {"item_embeddings": np.zeros((5, 3), np.float32), "item_counts": np.ones(5)}


@pytest.mark.attack
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"padding": np.zeros(1 << 20)}, "undeclared: some"),
        ({"item_counts": None}, "missing: item_counts"),
        ({"item_counts": np.ones(6)}, "found more"),
        ({"item_counts": np.ones(5, np.int64)}, "as float64"),
        ({"item_embeddings": np.zeros((3, 5), np.float32)}, "another shape"),
    ],
)
def test_another_state_is_refused_before_anything_is_spent(
    home: MerchantHome, changed: dict[str, Any], why: str
) -> None:
    expected = arrays_of("private-als", "als-1")
    folder = home.runs / "job" / "inputs" / "state"
    folder.mkdir(parents=True)
    arrays = {name: one for name, one in (GOOD | changed).items() if one is not None}
    save_file(arrays, folder / "state.safetensors")
    with pytest.raises(ReviewError, match=why):
        runs.check_state(home, "job", expected)
    save_file(GOOD, folder / "state.safetensors")
    runs.check_state(home, "job", expected)
    (folder / "more").write_text("x")
    with pytest.raises(ReviewError, match="other files"):
        runs.check_state(home, "job", expected)


@pytest.mark.attack
@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\0" * 100])
def test_a_damaged_state_is_refused(home: MerchantHome, data: bytes) -> None:
    folder = home.runs / "job" / "inputs" / "state"
    folder.mkdir(parents=True)
    (folder / "state.safetensors").write_bytes(data)
    expected = arrays_of("co-purchase", "pairs")
    with pytest.raises(ReviewError, match="not what its phase starts from"):
        runs.check_state(home, "job", expected)


@pytest.mark.attack
def test_a_padded_state_is_refused_by_the_service_and_costs_nothing(
    home: MerchantHome,
    ledger: Ledger,
    make_proposal: Callable[..., Proposal],
    make_submission: Callable[..., Submission],
) -> None:
    class Sends(Link):
        def download_state(self, _peer: str, _name: str, _sha: str, into: Path) -> Path:
            save_file({"x": np.zeros(9)}, into / "state.safetensors")
            return into

    (home.private / "mock-published").touch()
    link = Sends()
    service = Service(home, link, ledger)  # type: ignore[arg-type]
    proposal = make_proposal()
    link.waiting = [make_submission("toys-proposal", proposal)]
    service.step()
    desk.approve(home, ledger, "toys", by="me")
    order = Round(
        study="toys",
        phase="als-1",
        proposal_sha256=proposal.sha256,
        state=StateRef(name="toys-als-1", sha256="a" * 64),
    )
    link.waiting = [make_submission("toys-als-1", order)]
    service.step()
    job, status, text, files = link.answers[-1]
    assert (job, status, files) == ("toys-als-1", "refused", {})
    assert "not what its phase starts from" in text
    assert ledger.state_of("toys-als-1") is None
    assert ledger.spent().epsilon == 0
