"""The scientist's side of private ALS: cost within the budget, and the merge by hand."""

from __future__ import annotations

import numpy as np
import pytest

from datasites.errors import SettingsError
from datasites.recipes import recipe_named
from recsys.federation import Update
from recsys.privacy import Budget, compose, epsilon_of

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


@pytest.mark.parametrize(
    "model", [{"rounds": 0}, {"rounds": 10**9}, {"factors": 10**6}, {"rounds": "3"}, {"colour": 1}]
)
def test_a_wrong_setting_is_named(model: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(model))):
        RECIPE.complete(model)
