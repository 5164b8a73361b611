"""One shopper's part in a step: all of it counted, none of it above the clipping norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping

from recsys.data import Interactions
from recsys.models.neural import NeuralSettings, initial_weights, toy_features
from recsys.models.neural.batches import make_batch
from recsys.models.neural.towers import TwoTowerNetwork
from recsys.models.neural.training import (
    SecureNoiseOptimizer,
    shoppers_at_once,
    sum_clipped_gradients,
)
from recsys.models.neural.weights import Weights
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

FEATURES = toy_features(toy_catalogue(), 24)
POPULARITY = np.random.default_rng(1).random(N_ITEMS)
OTHERS = np.array([0, 3, 3, 7, 11, 20, 39])
SHOP = toy_purchases(9, seed=6)


def settings_for(**changes: object) -> NeuralSettings:
    small = {"features": 24, "hidden": 5, "factors": 3, "history": 6, "clip": 0.4}
    return NeuralSettings(**(small | changes))  # type: ignore[arg-type]


def weights_for(settings: NeuralSettings) -> Weights:
    """Weights in the middle of training, so that every layer has a gradient."""
    rng = np.random.default_rng(2)
    return {
        name: array + 0.3 * rng.standard_normal(array.shape)
        for name, array in initial_weights(settings, N_ITEMS).items()
    }


def summed(
    shoppers: Interactions, settings: NeuralSettings, rows: list[int] | None = None
) -> np.ndarray:
    """The sum that a step would noise, as one vector."""
    network = TwoTowerNetwork(settings, weights_for(settings))
    wrapped = GradSampleModuleFastGradientClipping(
        network, loss_reduction="sum", max_grad_norm=settings.clip
    )
    adam = torch.optim.SGD(wrapped.parameters(), lr=0.0)
    optimizer = SecureNoiseOptimizer(adam, None, 1.0, settings.clip)
    sampled = np.arange(shoppers.n_shoppers) if rows is None else np.array(rows, dtype=np.int64)
    sum_clipped_gradients(
        wrapped, optimizer, shoppers, sampled, OTHERS, FEATURES, POPULARITY, settings
    )
    optimizer.step()
    return np.concatenate([p.grad.numpy().ravel() for p in network.by_name().values()])


def exact_gradient(shopper: Interactions, settings: NeuralSettings) -> np.ndarray:
    """One shopper's gradient by plain autograd, without Opacus."""
    network = TwoTowerNetwork(settings, weights_for(settings))
    batch = make_batch(shopper, OTHERS, FEATURES, POPULARITY, settings.history)
    network(batch).sum().backward()
    return np.concatenate([p.grad.numpy().ravel() for p in network.by_name().values()])


@pytest.mark.parametrize("residuals", [False, True])
@pytest.mark.parametrize("clip", [0.05, 0.4, 1e3])
def test_the_sum_is_that_of_gradients_clipped_one_by_one(residuals: bool, clip: float) -> None:
    settings = settings_for(toy_residuals=residuals, clip=clip)
    expected = 0.0
    for row in range(SHOP.n_shoppers):
        gradient = exact_gradient(SHOP.rows([row]), settings)
        expected += gradient * min(1.0, clip / max(1e-12, np.linalg.norm(gradient)))
    assert np.linalg.norm(expected) > min(clip, 1.0)
    np.testing.assert_allclose(summed(SHOP, settings), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("residuals", [False, True])
def test_no_shopper_moves_the_sum_by_more_than_the_clipping_norm(residuals: bool) -> None:
    settings = settings_for(toy_residuals=residuals)
    strange = [[5] * 30, [1, 2] * 20, list(range(40)), [39], [], [0, 39]]
    shop = Interactions.from_lists([*(SHOP.history(row) for row in range(4)), *strange], N_ITEMS)
    whole = summed(shop, settings)
    moved = [
        np.linalg.norm(
            whole - summed(shop.rows(np.delete(np.arange(shop.n_shoppers), row)), settings)
        )
        for row in range(shop.n_shoppers)
    ]
    assert max(moved) <= settings.clip
    assert max(moved) > 0.99 * settings.clip  # the bound is reached: it is what clips


def test_many_pieces_add_up_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = summed(SHOP, settings_for())
    monkeypatch.setattr("recsys.models.neural.training._SHOPPERS_AT_ONCE", 3)
    np.testing.assert_allclose(summed(SHOP, settings_for()), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [[], [3]])
def test_empty_samples_and_single_shoppers(rows: list[int]) -> None:
    found = summed(SHOP, settings_for(), rows)
    assert np.isfinite(found).all()
    assert bool(found.any()) == bool(rows)


def test_huge_weights_make_no_gradient_that_is_not_finite() -> None:
    settings = settings_for()
    network = TwoTowerNetwork(
        settings, {name: 0 * a + 100.0 for name, a in weights_for(settings).items()}
    )
    batch = make_batch(SHOP, OTHERS, FEATURES, POPULARITY, settings.history)
    network(batch).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.by_name().values())


def test_pieces_are_small_where_settings_are_large() -> None:
    largest = {"history": 64, "negatives": 1024, "features": 256, "hidden": 256, "factors": 128}
    assert 1 <= shoppers_at_once(NeuralSettings(**largest)) <= 16  # type: ignore[arg-type]
    assert shoppers_at_once(NeuralSettings()) == 128
