"""Rounds of training: noise where it must be, the same result where it is off, and learning."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from recsys.data import Interactions, synthesize
from recsys.errors import ModelError, PrivacyError
from recsys.evaluation import evaluate
from recsys.models.neural import NeuralSettings, TwoTower, flatten, initial_weights, toy_features
from recsys.models.neural.plan import counts_release, make_plan, merged_popularity
from recsys.models.neural.training import train_locally
from recsys.privacy import Budget, SecureNoise, noise_problems, spent
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

SMALL = NeuralSettings(
    rounds=1, steps=3, features=24, hidden=5, factors=3, history=6, sampling_rate=0.5
)
FEATURES = toy_features(toy_catalogue(), 24)
FLAT = np.zeros(N_ITEMS)


def fixed_noise(seed: int = 0) -> SecureNoise:
    return SecureNoise(np.random.default_rng(seed).bytes)


def trained(
    shop: Interactions, settings: NeuralSettings = SMALL, *, seed: int = 0, private: bool = True
) -> np.ndarray:
    weights = train_locally(
        shop,
        FEATURES,
        FLAT,
        initial_weights(settings, N_ITEMS),
        settings,
        2.0,
        fixed_noise(seed),
        round_number=1,
        private=private,
    )
    return flatten(weights)


def test_without_noise_training_is_reproducible() -> None:
    shop = toy_purchases(30)
    first = trained(shop, private=False)
    np.testing.assert_array_equal(first, trained(shop, private=False))
    assert not np.array_equal(first, flatten(initial_weights(SMALL, N_ITEMS)))


@pytest.mark.parametrize("lists", [[], [[]], [[3]], [[3, 4]]])
def test_shops_with_hardly_anybody_release_noise(lists: list[list[int]]) -> None:
    shop = Interactions.from_lists(lists, N_ITEMS)
    found = trained(shop)
    assert np.isfinite(found).all()
    assert not np.array_equal(found, trained(shop, seed=1))


@pytest.mark.parametrize("residuals", [False, True])
def test_every_weight_is_noised_as_planned(residuals: bool) -> None:
    """With one step of plain descent the weights show the noise itself."""
    import torch

    from recsys.models.neural.training import SecureNoiseOptimizer

    parameter = torch.nn.Parameter(torch.zeros(50, 40, dtype=torch.float64))
    other = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    parameters = [parameter, other] if residuals else [parameter]
    sgd = torch.optim.SGD(parameters, lr=1.0)
    optimizer = SecureNoiseOptimizer(sgd, SecureNoise(), 3.0, 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        for one in parameters:
            one.grad = torch.zeros_like(one)
        before = [one.detach().clone() for one in parameters]
        optimizer.step()
        steps = [(a - b.detach()).numpy() for a, b in zip(before, parameters, strict=True)]
        noise = np.concatenate([step.ravel() for step in steps])
        assert noise_problems(noise, 1.5) == []
        # The noise lies on a grid: two of two thousand numbers may meet there, rows may not.
        assert noise.size - np.unique(noise).size <= 5


def test_training_makes_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(toy_purchases(10))


def test_purchases_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ModelError, match="Expected purchases over 40 toys, found 41"):
        trained(Interactions.from_lists([[0, 1]], N_ITEMS + 1))


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_a_plan_spends_its_budget_and_no_more(epsilon: float) -> None:
    settings = replace(SMALL, rounds=3, steps=10, sampling_rate=0.1)
    plan = make_plan(settings, Budget(epsilon, 1e-5))
    assert list(plan.phases) == ["counts", "train-1", "train-2", "train-3"]
    total = spent([event for events in plan.phases.values() for event in events], 1e-5)
    assert 0.97 * epsilon < total <= epsilon
    with pytest.raises(PrivacyError, match="Expected a phase"):
        plan.of("train-4")


def test_counts_are_noised_as_booked() -> None:
    shop = toy_purchases(300, longest=4)
    settings = replace(SMALL, count_bound=100)
    plan = make_plan(settings, Budget(1.0, 1e-5))
    residuals = [
        counts_release(shop, settings, plan, SecureNoise())[0] - shop.item_counts()
        for _ in range(20)
    ]
    assert noise_problems(np.concatenate(residuals), plan.counts.sigma) == []


@pytest.mark.parametrize("counts", [np.zeros(3), np.array([-5.0, -1.0, -2.0]), np.empty(0)])
def test_counts_that_say_nothing_give_a_finite_popularity(counts: np.ndarray) -> None:
    assert not merged_popularity(counts).any()


def test_popular_toys_are_more_popular() -> None:
    found = merged_popularity(np.array([5.0, 100.0, -3.0]))
    assert found[1] > found[0] > found[2] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rounds", 0),
        ("rounds", 101),
        ("steps", 1001),
        ("history", 65),
        ("negatives", 0),
        ("factors", 1.5),
        ("sampling_rate", 0.0),
        ("sampling_rate", 1.1),
        ("clip", -1.0),
        ("learning_rate", float("nan")),
        ("counts_share", 0.95),
        ("toy_residuals", 1),
        ("seed", -1),
    ],
)
def test_settings_outside_their_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(PrivacyError, match=f"Expected {name}"):
        NeuralSettings(**{name: value})  # type: ignore[arg-type]


def test_settings_survive_json_and_refuse_what_they_do_not_know() -> None:
    changed = NeuralSettings(rounds=7, toy_residuals=True)
    assert NeuralSettings.from_dict(changed.to_dict()) == changed
    with pytest.raises(PrivacyError, match="dropout"):
        NeuralSettings.from_dict({"dropout": 0.1})


@pytest.mark.slow
def test_without_noise_it_learns_what_the_catalogue_does_not_tell() -> None:
    market = synthesize(None, merchants=1, shoppers=1500, toys=100, seed=3)
    (shop,) = market.shops.values()
    train, valid = shop.split.train, shop.split.valid
    settings = NeuralSettings(rounds=1, steps=25, sampling_rate=0.2, learning_rate=0.02)
    popularity = merged_popularity(train.item_counts().astype(float))
    start = initial_weights(settings, 100)
    features = toy_features(market.catalogue, settings.features)
    end = train_locally(
        train,
        features,
        popularity,
        start,
        settings,
        1.0,
        fixed_noise(),
        round_number=1,
        private=False,
    )
    before, after = (
        evaluate(
            TwoTower(flatten(weights), popularity, settings).fit(train, market.catalogue),
            train,
            valid,
        ).overall()["ndcg@10"]
        for weights in (start, end)
    )
    assert after > 1.2 * before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_cannot_make_a_run_fail_for_the_buyers_of_one_toy(value: float) -> None:
    popularity = FLAT.copy()
    popularity[7] = value
    for shop in ([[1, 2], [3, 4]], [[1, 2], [3, 7]]):
        with pytest.raises(ModelError, match="popularity"):
            train_locally(
                Interactions.from_lists(shop, N_ITEMS),
                FEATURES,
                popularity,
                initial_weights(SMALL, N_ITEMS),
                SMALL,
                2.0,
                fixed_noise(),
                round_number=1,
            )


def test_a_huge_popularity_is_bounded() -> None:
    shop = toy_purchases(30)
    weights = initial_weights(SMALL, N_ITEMS)
    weights["gains"][:] = 100.0
    for popularity in (FLAT + 1e308, np.where(np.arange(N_ITEMS) == 7, -1e308, 1e308)):
        found = train_locally(
            shop, FEATURES, popularity, weights, SMALL, 2.0, fixed_noise(), round_number=1
        )
        assert np.isfinite(flatten(found)).all()
        model = TwoTower(flatten(weights), popularity, SMALL).fit(shop, toy_catalogue())
        assert np.isfinite(model.score(shop)).all()
