"""The scientist's side of private ALS: cost within the budget, and the merge by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from datasites.errors import SettingsError
from datasites.merchant import gate, sandbox
from datasites.recipes import recipe_named
from recsys.data import Shop, leave_one_out, write_catalogue, write_shop
from recsys.errors import ModelError
from recsys.federation import Update, merge_named, merge_names
from recsys.models.private_als import PrivateALSSettings, Statistics, solve_items
from recsys.models.private_als.statistics import half_matrices
from recsys.privacy import Budget, GaussianEvent, compose, epsilon_of
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

RECIPE = recipe_named("private-als")
SETTINGS = RECIPE.complete({"rounds": 2, "factors": 2, "averaged_rounds": 2})


def counted(**of: tuple[list[float], float]) -> dict[str, np.ndarray]:
    updates = [
        Update(
            {"item_counts": np.array(counts), "shopper_count": np.array([size])}, 1.0, (), merchant
        )
        for merchant, (counts, size) in of.items()
    ]
    state = RECIPE.initial_state(SETTINGS, 2)
    return RECIPE.merge("counts", updates, state, SETTINGS, "fedavg")


def learned(merchant: str, value: float) -> Update:
    return Update({"item_embeddings": np.full((2, 2), value, np.float32)}, 1.0, (), merchant)


@pytest.mark.parametrize(("epsilon", "rounds"), [(0.1, 1), (1.0, 3), (8.0, 7)])
def test_all_phases_together_cost_at_most_the_budget(epsilon: float, rounds: int) -> None:
    settings = RECIPE.complete({"rounds": rounds})
    phases = RECIPE.phases(settings, Budget(epsilon, 1e-5), 30)
    names = [phase.name for phase in phases]
    assert names == ["counts", *(f"als-{t}" for t in range(1, rounds + 1)), "quality"]
    total = epsilon_of(compose([one for phase in phases for one in phase.privacy_events()]), 1e-5)
    assert 0.98 * epsilon < total <= epsilon * (1 + 1e-9)


def test_counts_add_up_and_never_fall_below_one() -> None:
    state = counted(a=([5.0, -3.0], 10.0), b=([1.0, 0.5], 30.0))
    np.testing.assert_allclose(state["item_counts"], [6.0, 1.0])


def test_fedavg_weighs_merchants_by_their_noised_size_then_averages_rounds() -> None:
    state = counted(a=([5.0, 5.0], 10.0), b=([5.0, 5.0], 30.0))
    updates = [learned("a", 1.0), learned("b", 5.0)]
    state = RECIPE.merge("als-1", updates, state, SETTINGS, "fedavg")
    np.testing.assert_allclose(state["item_embeddings"], 4.0)  # (10 * 1 + 30 * 5) / 40
    state = RECIPE.merge("als-2", [learned("a", 2.0)], state, SETTINGS, "fedavg")
    np.testing.assert_allclose(state["item_embeddings"], 3.0)  # the mean of 4 and 2


def test_support_weighs_each_toy_by_its_buyers() -> None:
    state = counted(a=([9.0, 0.0], 10.0), b=([1.0, 4.0], 30.0))
    updates = [learned("a", 1.0), learned("b", 5.0)]
    state = RECIPE.merge("als-1", updates, state, SETTINGS, "support")
    np.testing.assert_allclose(state["item_embeddings"], [[1.4, 1.4], [5.0, 5.0]], rtol=1e-6)


def test_a_merchant_without_counts_trains_as_an_average_one() -> None:
    state = counted(a=([8.0, 8.0], 10.0), b=([0.0, 0.0], 30.0))
    updates = [learned("a", 1.0), learned("late", 4.0)]
    plain = RECIPE.merge("als-1", updates, state, SETTINGS, "fedavg")
    np.testing.assert_allclose(plain["item_embeddings"], 3.0)  # (10 * 1 + 20 * 4) / 30
    alone = [learned("a", 1.0), learned("b", 7.0), learned("late", 4.0)]
    support = RECIPE.merge("als-1", alone, state, SETTINGS, "support")
    np.testing.assert_allclose(support["item_embeddings"], 2.0)  # (8 * 1 + 4 * 4) / 12


AVERAGES = [name for name in merge_names() if not merge_named(name).sums]


@pytest.mark.parametrize("rule", AVERAGES)
def test_every_merge_takes_a_study_to_its_end_and_survives_a_restart(rule: str) -> None:
    def run(killed: bool) -> np.ndarray:
        state = counted(a=([9.0, 0.0], 10.0), b=([1.0, 4.0], 30.0))
        for phase, value in (("als-1", 1.0), ("als-2", 2.0)):
            updates = [learned("a", value), learned("b", 5.0), learned("late", 3.0)]
            state = RECIPE.merge(phase, updates, state, SETTINGS, rule)
            if killed:
                state = load(save(state))
        return state["item_embeddings"]

    found = run(killed=False)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, run(killed=True))


@pytest.mark.parametrize("rule", AVERAGES)
def test_a_merchant_that_sends_huge_numbers_does_not_end_the_study(rule: str) -> None:
    state = counted(a=([9.0, 0.0], 10.0), b=([1e300, -1e300], 1e300))
    for phase in ("als-1", "als-2"):
        updates = [learned("a", 1.0), learned("b", 3e38)]
        state = RECIPE.merge(phase, updates, state, SETTINGS, rule)
    assert np.isfinite(state["item_embeddings"]).all()


def test_the_state_does_not_grow_with_the_rounds() -> None:
    settings = RECIPE.complete({"factors": 2, "rounds": 9, "averaged_rounds": 3})
    state, sizes = counted(a=([9.0, 0.0], 10.0)), []
    for number in range(1, 10):
        state = RECIPE.merge(f"als-{number}", [learned("a", number)], state, settings, "fedavg")
        sizes.append(len(state))
    assert len(set(sizes[2:])) == 1
    np.testing.assert_allclose(state["item_embeddings"], 8.0)  # the mean of 7, 8 and 9


def test_the_noise_of_the_counts_is_kept_for_merges_that_ask_for_it() -> None:
    event = GaussianEvent("counts", 2.0, 29.0)
    arrays = {"item_counts": np.ones(2), "shopper_count": np.ones(1)}
    state = RECIPE.initial_state(SETTINGS, 2)
    state = RECIPE.merge(
        "counts", [Update(arrays, 1.0, (event,), "a")], state, SETTINGS, "precision"
    )
    assert state["counts_sigma"] == pytest.approx(29.0)


def test_an_unknown_merge_is_refused_with_the_list() -> None:
    state = counted(a=([9.0, 0.0], 10.0))
    with pytest.raises(ModelError, match=r"fedavg.*'median'"):
        RECIPE.merge("als-1", [learned("a", 1.0)], state, SETTINGS, "median")


@pytest.mark.parametrize("outer", [False, True])
def test_released_statistics_are_declared_summed_and_solved_once(outer: bool) -> None:
    model = {"rounds": 2, "factors": 2, "outer_products": outer}
    settings = RECIPE.complete({**model, "release": "statistics"})
    phases = RECIPE.phases(settings, Budget(1.0, 1e-5), 5)
    shapes = {spec.name: spec.shape for spec in phases[1].outputs}
    assert shapes == {"gram": (3,), "outer": (5, 3 if outer else 0), "linear": (5, 2)}
    alike = RECIPE.phases(RECIPE.complete(model), Budget(1.0, 1e-5), 5)
    assert phases[1].events == alike[1].events
    assert len(phases[1].events) == (3 if outer else 2)

    rng = np.random.default_rng(0)
    sums = {"gram": rng.normal(size=3), "outer": rng.normal(size=(2, 3 if outer else 0))}
    sums["linear"] = rng.normal(size=(2, 2))
    updates = [
        Update({name: share * array for name, array in sums.items()}, 1.0, (), merchant)
        for merchant, share in (("a", 0.25), ("b", 0.75))
    ]
    state = counted(a=([9.0, 0.0], 10.0), b=([1.0, 4.0], 30.0))
    state = RECIPE.merge("als-1", updates, state, settings, "statistics")
    doubled = settings | {"item_regularization": 2 * settings["item_regularization"]}
    chosen = PrivateALSSettings.from_dict({k: v for k, v in doubled.items() if k != "release"})
    np.testing.assert_allclose(
        state["item_embeddings"],
        solve_items(Statistics(**sums), chosen, state["item_counts"]),
        rtol=1e-6,
    )


def test_statistics_of_merchants_who_are_alike_give_what_fedavg_gives() -> None:
    settings = RECIPE.complete(
        {"rounds": 2, "factors": 2, "release": "statistics", "outer_products": True}
    )
    chosen = PrivateALSSettings.from_dict({k: v for k, v in settings.items() if k != "release"})
    vectors = np.random.default_rng(1).normal(size=(2, 9, 2))
    outer = half_matrices(np.einsum("jsd,jse->jde", vectors, vectors))
    one = Statistics(outer.sum(axis=0), outer, vectors.sum(axis=1))
    solved = solve_items(one, chosen)
    state = counted(a=([9.0, 0.0], 10.0), b=([1.0, 4.0], 10.0))
    updates = [Update(vars(one), 1.0, (), name) for name in "ab"]
    summed = RECIPE.merge("als-1", updates, state, settings, "statistics")
    np.testing.assert_allclose(summed["item_embeddings"], solved, rtol=1e-5)


def test_statistics_of_huge_numbers_do_not_end_the_study() -> None:
    settings = RECIPE.complete({"rounds": 2, "factors": 2, "release": "statistics"})
    bad = {"gram": np.full(3, -1e308), "outer": np.full((2, 3), 1e308)}
    updates = [Update(bad | {"linear": np.full((2, 2), 1e308)}, 1.0, (), name) for name in "ab"]
    state = counted(a=([9.0, 0.0], 10.0), b=([1.0, 4.0], 30.0))
    state = RECIPE.merge("als-1", updates, state, settings, "statistics")
    assert np.isfinite(state["item_embeddings"]).all()


@pytest.mark.parametrize(("release", "rule"), [("statistics", "fedavg"), (None, "statistics")])
def test_a_merge_that_does_not_fit_what_is_released_is_refused(
    release: str | None, rule: str
) -> None:
    settings = SETTINGS | ({"release": release} if release else {})
    state = counted(a=([9.0, 0.0], 10.0))
    with pytest.raises(SettingsError, match="together with release = 'statistics'"):
        RECIPE.merge("als-1", [learned("a", 1.0)], state, settings, rule)


@pytest.mark.parametrize(
    "model",
    [
        {"release": "purchases"},
        {"rounds": 0},
        {"rounds": 10**9},
        {"factors": 10**6},
        {"rounds": "3"},
        {"colour": 1},
    ],
)
def test_a_wrong_setting_is_named(model: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(model))):
        RECIPE.complete(model)


@pytest.mark.slow
@pytest.mark.parametrize("outer_products", [False, True])
@pytest.mark.parametrize("release", ["embeddings", "statistics"])
def test_the_remote_code_releases_what_the_phase_declares(
    tmp_path: Path, release: str, outer_products: bool
) -> None:
    settings = RECIPE.complete(
        {"rounds": 1, "factors": 2, "release": release, "outer_products": outer_products}
    )
    budget = Budget(1.0, 1e-5)
    for name in ("data", "job", "state"):
        (tmp_path / name).mkdir()
    catalogue = toy_catalogue()
    write_catalogue(tmp_path / "data" / "catalogue.parquet", catalogue)
    shop = Shop.from_split("shop", leave_one_out(toy_purchases(50)))
    write_shop(tmp_path / "data" / "shop.parquet", shop, catalogue)
    job = {"phase": "als-1", "settings": settings, "epsilon": 1.0, "delta": 1e-5}
    (tmp_path / "job" / "job.json").write_text(json.dumps(job))
    state = RECIPE.initial_state(settings, N_ITEMS) | {"item_counts": np.ones(N_ITEMS)}
    (tmp_path / "state" / "state.safetensors").write_bytes(save(state))
    outcome = sandbox.run(
        RECIPE.code,
        inputs={name: tmp_path / name for name in ("data", "job", "state")},
        output=tmp_path / "output",
        log=tmp_path / "log.txt",
    )
    assert outcome.ok, (tmp_path / "log.txt").read_text()
    (planned,) = (one for one in RECIPE.phases(settings, budget, N_ITEMS) if one.name == "als-1")
    released = gate.check(tmp_path / "output", planned.outputs)
    assert set(released) == {spec.name for spec in planned.outputs}
    merge = "statistics" if release == "statistics" else "precision"
    counts = {"item_counts": np.ones(N_ITEMS), "shopper_count": np.ones(1)}
    state = RECIPE.merge("counts", [Update(counts, 1.0, (), "a")], state, settings, merge)
    updates = [Update(released, 1.0, tuple(planned.privacy_events()), "a")]
    merged = RECIPE.merge("als-1", updates, state, settings, merge)["item_embeddings"]
    assert merged.shape == (N_ITEMS, 2)
    assert np.isfinite(merged).all()
    assert np.ptp(merged) > 0
