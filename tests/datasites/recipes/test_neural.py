"""The scientist's side of the two-tower network: cost within the budget, and the merge by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save, save_file

from datasites.errors import SettingsError
from datasites.merchant import gate, sandbox
from datasites.merchant.scan import Severity, scan_code
from datasites.recipes import recipe_named
from recsys.federation import Update, merge_named, merge_names
from recsys.models import ContentSimilarity
from recsys.privacy import Budget, spent
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

RECIPE = recipe_named("neural")
SMALL = {"rounds": 2, "steps": 3, "features": 24, "hidden": 5, "factors": 3, "averaged_rounds": 2}
SETTINGS = RECIPE.complete(SMALL)
SIZE = RECIPE.initial_state(SETTINGS, 2)["network"].size
AVERAGES = [name for name in merge_names() if not merge_named(name).sums]


def counted(**of: tuple[list[float], float]) -> dict[str, np.ndarray]:
    updates = [
        Update(
            {"item_counts": np.array(counts), "shopper_count": np.array([size])}, 1.0, (), merchant
        )
        for merchant, (counts, size) in of.items()
    ]
    return RECIPE.merge("counts", updates, RECIPE.initial_state(SETTINGS, 2), SETTINGS, "fedavg")


def learned(merchant: str, value: float) -> Update:
    return Update({"network": np.full(SIZE, value, np.float32)}, 1.0, (), merchant)


@pytest.mark.parametrize(("epsilon", "rounds"), [(0.3, 1), (2.0, 4)])
def test_all_phases_together_cost_at_most_the_budget(epsilon: float, rounds: int) -> None:
    settings = RECIPE.complete({"rounds": rounds, "steps": 5})
    phases = RECIPE.phases(settings, Budget(epsilon, 1e-5), 30)
    assert [phase.name for phase in phases] == [
        "counts",
        *(f"train-{t}" for t in range(1, rounds + 1)),
    ]
    total = spent([one for phase in phases for one in phase.privacy_events()], 1e-5)
    assert 0.97 * epsilon < total <= epsilon


def test_counts_add_up_into_a_popularity() -> None:
    state = counted(a=([5.0, -3.0], 10.0), b=([1.0, 0.5], 30.0))
    np.testing.assert_allclose(state["item_counts"], [6.0, 0.0])
    assert state["popularity"][0] > state["popularity"][1] == 0


@pytest.mark.parametrize("rule", ["fedavg", "support", "precision", "shrunk"])
def test_merchants_count_by_noised_size_then_rounds_are_averaged(rule: str) -> None:
    state = counted(a=([5.0, 5.0], 10.0), b=([5.0, 5.0], 30.0))
    state = RECIPE.merge("train-1", [learned("a", 1.0), learned("b", 5.0)], state, SETTINGS, rule)
    np.testing.assert_allclose(state["network"], 4.0)  # (10 * 1 + 30 * 5) / 40
    state = RECIPE.merge("train-2", [learned("a", 2.0)], state, SETTINGS, rule)
    np.testing.assert_allclose(state["network"], 3.0)  # the mean of 4 and 2


def test_a_merchant_without_counts_trains_as_an_average_one() -> None:
    state = counted(a=([8.0, 8.0], 10.0), b=([0.0, 0.0], 30.0))
    updates = [learned("a", 1.0), learned("late", 4.0)]
    found = RECIPE.merge("train-1", updates, state, SETTINGS, "fedavg")
    np.testing.assert_allclose(found["network"], 3.0)  # (10 * 1 + 20 * 4) / 30


@pytest.mark.parametrize("rule", AVERAGES)
def test_every_average_survives_a_restart_and_merchants_that_send_anything(rule: str) -> None:
    def run(killed: bool) -> np.ndarray:
        state = counted(a=([9.0, 0.0], 10.0), b=([1e300, -1e300], 1e300))
        for phase in ("train-1", "train-2"):
            updates = [learned("a", 1.0), learned("b", 3e38), learned("late", -3e38)]
            state = RECIPE.merge(phase, updates, state, SETTINGS, rule)
            if killed:
                state = load(save(state))
        return state["network"]

    found = run(killed=False)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, run(killed=True))


def test_sums_are_no_networks() -> None:
    state = counted(a=([9.0, 0.0], 10.0))
    with pytest.raises(SettingsError, match="choose 'fedavg'"):
        RECIPE.merge("train-1", [learned("a", 1.0)], state, SETTINGS, "statistics")


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"dropout": 0.5}, {"hidden": "many"}])
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"\[model\] of neural"):
        RECIPE.complete(wrong)


def test_before_any_round_the_model_recommends_by_content() -> None:
    shoppers = toy_purchases(10)
    state = RECIPE.initial_state(SETTINGS, N_ITEMS) | {
        "popularity": np.zeros(N_ITEMS),
        "item_counts": np.ones(N_ITEMS),
    }
    arrays = {name: state[name] for name in RECIPE.model_arrays}
    shared = RECIPE.model(arrays, SETTINGS)["shared"].fit(shoppers, toy_catalogue())
    content = ContentSimilarity(decay=0.5).fit(shoppers, toy_catalogue())
    np.testing.assert_allclose(shared.score(shoppers), content.score(shoppers), atol=1e-5)


def test_nothing_in_the_remote_code_stands_out() -> None:
    assert [one for one in scan_code(RECIPE.code) if one.severity > Severity.NOTE] == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["counts", "train-1"])
def test_the_remote_code_runs_in_the_sandbox(tmp_path: Path, phase: str) -> None:
    from recsys.data import Shop, leave_one_out, write_catalogue, write_shop

    budget = Budget(1.0, 1e-5)
    catalogue = toy_catalogue()
    for name in ("data", "job", "state"):
        (tmp_path / name).mkdir()
    write_catalogue(tmp_path / "data" / "catalogue.parquet", catalogue)
    shop = Shop.from_split("shop", leave_one_out(toy_purchases(50)))
    write_shop(tmp_path / "data" / "shop.parquet", shop, catalogue)
    job = {"phase": phase, "settings": SETTINGS, "epsilon": budget.epsilon, "delta": budget.delta}
    (tmp_path / "job" / "job.json").write_text(json.dumps(job))
    state = RECIPE.initial_state(SETTINGS, N_ITEMS)
    save_file(
        {"network": state["network"], "popularity": np.zeros(N_ITEMS)},
        tmp_path / "state" / "state.safetensors",
    )
    outcome = sandbox.run(
        RECIPE.code,
        inputs={name: tmp_path / name for name in ("data", "job", "state")},
        output=tmp_path / "output",
        log=tmp_path / "log.txt",
    )
    assert outcome.ok, (tmp_path / "log.txt").read_text()
    assert (tmp_path / "log.txt").read_text() == ""
    (planned,) = (one for one in RECIPE.phases(SETTINGS, budget, N_ITEMS) if one.name == phase)
    released = gate.check(tmp_path / "output", planned.outputs)
    assert set(released) == set(load_file(tmp_path / "output" / "release.safetensors"))
    facts = json.loads((tmp_path / "output" / "release.json").read_text())
    assert facts == {"events": [dict(event) for event in planned.events]}
    if phase == "train-1":
        assert not np.array_equal(released["network"], state["network"])
