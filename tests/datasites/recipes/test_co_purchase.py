"""The scientist's side of co-purchases: cost, sums, and each merchant's own part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from datasites.errors import SettingsError
from datasites.merchant import gate, sandbox
from datasites.merchant.scan import Severity, scan_code
from datasites.recipes import Recipe, recipe_named, recipe_names
from recsys.errors import ModelError
from recsys.federation import Update
from recsys.models.co_purchase import SharedPairs
from recsys.privacy import Budget, spent
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

RECIPE = recipe_named("co-purchase")
SETTINGS = RECIPE.complete({"pairs_per_toy": 4})
BUDGET = Budget(2.0, 1e-5)
PHASES = {phase.name: phase for phase in RECIPE.phases(SETTINGS, BUDGET, N_ITEMS)}
N_CELLS = N_ITEMS * 4


def released(seed: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        "counts": {
            "item_counts": rng.normal(5, 1, N_ITEMS),
            "shopper_count": np.array([100.0 + seed]),
        },
        "pairs": {"pair_sums": rng.normal(1, 1, N_CELLS).astype(np.float32)},
    }


def merged(*parts: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    state = RECIPE.initial_state(SETTINGS, N_ITEMS)
    state |= RECIPE.public_arrays(SETTINGS, toy_catalogue())
    for name, phase in PHASES.items():
        updates = [
            Update(part[name], 1.0, phase.privacy_events(), f"m{n}") for n, part in enumerate(parts)
        ]
        state = RECIPE.merge(name, updates, state, SETTINGS, "fedavg")
    return state


def shared_of(state: dict[str, np.ndarray]) -> dict[str, SharedPairs]:
    return RECIPE.model({name: state[name] for name in RECIPE.model_arrays}, SETTINGS)  # type: ignore[return-value]


def test_all_phases_cost_the_budget() -> None:
    events = [event for phase in PHASES.values() for event in phase.privacy_events()]
    assert spent(events, BUDGET.delta) == pytest.approx(BUDGET.epsilon, rel=1e-6)


def test_sums_and_variances_add_up() -> None:
    parts = [released(seed) for seed in range(3)]
    shared = shared_of(merged(*parts))["shared"]
    np.testing.assert_allclose(
        shared.sums.pairs, np.sum([part["pairs"]["pair_sums"] for part in parts], axis=0), rtol=1e-6
    )
    (pairs,), (counts,) = (PHASES[name].privacy_events() for name in ("pairs", "counts"))
    assert shared.sums.pair_variance == pytest.approx(3 * pairs.sigma**2)  # type: ignore[union-attr]
    assert shared.sums.count_variance == pytest.approx(3 * counts.sigma**2)  # type: ignore[union-attr]
    assert shared.sums.shoppers == pytest.approx(303.0)


def test_a_merchants_own_part_is_taken_out_whole() -> None:
    parts = [released(seed) for seed in range(3)]
    left = RECIPE.of_others(shared_of(merged(*parts)), parts[1])["shared"]
    alone = shared_of(merged(parts[0], parts[2]))["shared"]
    assert isinstance(left, SharedPairs)
    np.testing.assert_allclose(left.sums.pairs, alone.sums.pairs, atol=1e-5)
    np.testing.assert_allclose(left.sums.counts, alone.sums.counts, atol=1e-9)
    assert left.sums.pair_variance == pytest.approx(alone.sums.pair_variance)
    assert left.sums.count_variance == pytest.approx(alone.sums.count_variance)


def test_best_sellers_of_others_are_without_ones_own_too() -> None:
    """They count `valid`, on which the merchant fits its weights."""
    parts = [released(seed) for seed in range(3)]
    shop = toy_purchases(3)
    found, expected = (
        components["shared_popularity"].fit(shop, toy_catalogue()).score(shop)
        for components in (
            RECIPE.of_others(shared_of(merged(*parts)), parts[1]),  # type: ignore[arg-type]
            shared_of(merged(parts[0], parts[2])),
        )
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("shopper_count", np.zeros(0)),
        ("noise_variances", np.ones(3)),
        ("pair_sums", np.ones(5)),
        ("pair_similarity", np.full(N_CELLS, -1.0, np.float32)),
        ("pair_similarity", np.full(N_CELLS, 1e30, np.float32)),
    ],
)
def test_models_of_other_shapes_or_impossible_lists_are_refused(
    name: str, array: np.ndarray
) -> None:
    with pytest.raises(ModelError):
        shared_of(merged(released(0)) | {name: array})


@pytest.mark.parametrize("name", ["noise_variances", "shopper_count", "item_counts", "pair_sums"])
@pytest.mark.parametrize("value", [1e308, -1e308, 1e-300, 0.0])
def test_models_of_absurd_numbers_give_finite_scores(name: str, value: float) -> None:
    state = merged(released(0), released(1))
    model = shared_of(state | {name: np.full_like(state[name], value)})["shared"]
    assert np.isfinite(model.fit(toy_purchases(), toy_catalogue()).score(toy_purchases(5))).all()


def test_a_part_that_came_too_late_is_not_taken_out() -> None:
    shared = shared_of(merged(released(0), released(1)))
    left = RECIPE.of_others(shared, released(2))["shared"]
    assert isinstance(left, SharedPairs)
    np.testing.assert_array_equal(left.sums.pairs, shared["shared"].sums.pairs)
    assert left.sums.pair_variance == shared["shared"].sums.pair_variance


def test_updates_that_would_overflow_are_bounded() -> None:
    bad = released(0)
    bad["pairs"]["pair_sums"][:] = 3e38
    bad["counts"]["item_counts"][:] = -1e300
    model = shared_of(merged(bad, bad, released(1)))["shared"]
    model.fit(toy_purchases(), toy_catalogue())
    assert np.isfinite(model.score(toy_purchases(5))).all()


@pytest.mark.parametrize("wrong", [{"window": 0}, {"rounds": 3}, {"gap_decay": "slow"}])
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"\[model\] of co-purchase"):
        RECIPE.complete(wrong)


def test_nothing_in_the_remote_code_stands_out() -> None:
    assert [one for one in scan_code(RECIPE.code) if one.severity > Severity.NOTE] == []


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["counts", "pairs"])
def test_the_remote_code_runs_in_the_sandbox(tmp_path: Path, phase: str) -> None:
    from recsys.data import Shop, leave_one_out, write_catalogue, write_shop

    catalogue = toy_catalogue()
    for name in ("data", "job", "state"):
        (tmp_path / name).mkdir()
    write_catalogue(tmp_path / "data" / "catalogue.parquet", catalogue)
    shop = Shop.from_split("shop", leave_one_out(toy_purchases(50)))
    write_shop(tmp_path / "data" / "shop.parquet", shop, catalogue)
    job = {"phase": phase, "settings": SETTINGS, "epsilon": 2.0, "delta": 1e-5}
    (tmp_path / "job" / "job.json").write_text(json.dumps(job))
    state = RECIPE.public_arrays(SETTINGS, catalogue)
    save_file(state, tmp_path / "state" / "state.safetensors")
    outcome = sandbox.run(
        RECIPE.code,
        inputs={name: tmp_path / name for name in ("data", "job", "state")},
        output=tmp_path / "output",
        log=tmp_path / "log.txt",
    )
    assert outcome.ok, (tmp_path / "log.txt").read_text()
    assert (tmp_path / "log.txt").read_text() == ""
    found = gate.check(tmp_path / "output", PHASES[phase].outputs)
    assert set(found) == set(load_file(tmp_path / "output" / "release.safetensors"))


def test_a_recipe_that_takes_out_own_releases_says_that_it_needs_them() -> None:
    for recipe in map(recipe_named, recipe_names()):
        assert recipe.takes_out_own == (type(recipe).of_others is not Recipe.of_others)
