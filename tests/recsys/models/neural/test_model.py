"""The two towers as a recommender: content similarity at first, and a good citizen always."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.data import Interactions
from recsys.errors import ModelError
from recsys.models import ContentSimilarity, Recommender, TwoTower
from recsys.models.neural import (
    NeuralSettings,
    flatten,
    initial_weights,
    n_weights,
    toy_features,
    unflatten,
)
from recsys.models.neural.batches import make_batch
from recsys.models.neural.towers import TwoTowerNetwork
from recsys.models.neural.weights import LARGEST
from tests.contracts.recommenders import (
    N_ITEMS,
    RecommenderContract,
    toy_catalogue,
    toy_purchases,
)

SETTINGS = NeuralSettings(features=24, hidden=5, factors=3, toy_residuals=True)
POPULARITY = np.random.default_rng(1).random(N_ITEMS)
POOR = [
    {"title": [""] * N_ITEMS},
    {"title": [""] * N_ITEMS, "category_path": [""] * N_ITEMS, "brand": [""] * N_ITEMS},
    {"title": ["the same"] * N_ITEMS, "brand": ["b"] * N_ITEMS, "price": [3.0] * N_ITEMS},
    {"price": [float("nan")] * N_ITEMS, "age_from": [float("nan")] * N_ITEMS},
    {"price": [float("nan"), 1e300, -4.0, 0.0, float("inf")] * 8, "age_from": [90.0] * N_ITEMS},
    {"price": list(range(N_ITEMS)), "age_from": [3.0, 6.0] * 20, "age_to": [2.0, 99.0] * 20},
]


def some_weights(settings: NeuralSettings = SETTINGS) -> np.ndarray:
    rng = np.random.default_rng(2)
    return (0.5 * rng.standard_normal(n_weights(settings, N_ITEMS))).astype(np.float32)


class TestTwoTowerContract(RecommenderContract):
    def make(self) -> Recommender:
        return TwoTower(some_weights(), POPULARITY, SETTINGS)


def test_before_training_it_is_content_similarity() -> None:
    start = flatten(initial_weights(SETTINGS, N_ITEMS))
    shoppers = toy_purchases(30, seed=4, longest=SETTINGS.history)
    towers = TwoTower(start, POPULARITY, SETTINGS).fit(shoppers, toy_catalogue())
    content = ContentSimilarity(decay=0.5).fit(shoppers, toy_catalogue())
    np.testing.assert_allclose(towers.score(shoppers), content.score(shoppers), atol=1e-5)


def test_what_is_served_is_what_was_trained() -> None:
    """The scores that the loss sees are the served ones times what was learned as sharpness."""
    shoppers = toy_purchases(25, seed=5, longest=SETTINGS.history)
    catalogue = toy_catalogue(price=[float(i % 7) for i in range(N_ITEMS)])
    model = TwoTower(some_weights(), POPULARITY, SETTINGS).fit(shoppers, catalogue)
    histories = [shoppers.history(row) for row in range(25) if len(shoppers.history(row)) > 1]
    before = Interactions.from_lists([history[:-1] for history in histories], N_ITEMS)
    network = TwoTowerNetwork(SETTINGS, unflatten(some_weights(), SETTINGS, N_ITEMS))
    factor = float(network.sharpness.factor().detach())
    assert SETTINGS.sharpness / 4 < factor < SETTINGS.sharpness * 4
    scores = torch.from_numpy(factor * model.score(before).astype(np.float64))
    bought = torch.tensor([int(history[-1]) for history in histories])
    expected = torch.logsumexp(scores, dim=1) - scores[torch.arange(len(bought)), bought]
    batch = make_batch(
        Interactions.from_lists(histories, N_ITEMS),
        np.arange(N_ITEMS),
        toy_features(catalogue, SETTINGS.features),
        POPULARITY,
        SETTINGS.history,
    )
    only_last = torch.zeros_like(batch.shares)
    for row, history in enumerate(histories):
        only_last[row, len(history) - 2] = 1.0
    object.__setattr__(batch, "shares", only_last)
    np.testing.assert_allclose(network(batch).detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("columns", POOR)
def test_poor_catalogues_give_finite_scores(columns: dict[str, list[object]]) -> None:
    catalogue = toy_catalogue(**columns)
    features = toy_features(catalogue, 24)
    lengths = np.linalg.norm(features.dense, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-9) | (lengths == 0))
    model = TwoTower(some_weights(), POPULARITY, SETTINGS).fit(toy_purchases(), catalogue)
    assert np.isfinite(model.score(toy_purchases(4))).all()


@pytest.mark.parametrize("size", [1, 8, 15, 16, 64])
def test_features_have_the_size_asked_for_and_never_change(size: int) -> None:
    catalogue = toy_catalogue(price=[float(i) for i in range(N_ITEMS)])
    first, second = toy_features(catalogue, size), toy_features(catalogue, size)
    assert first.dense.shape == (N_ITEMS, size)
    np.testing.assert_array_equal(first.dense, second.dense)


def test_prices_count_by_rank() -> None:
    cheap = toy_features(toy_catalogue(price=[float(i) for i in range(N_ITEMS)]), 24)
    dear = toy_features(toy_catalogue(price=[float(i**5) for i in range(N_ITEMS)]), 24)
    np.testing.assert_allclose(cheap.dense, dear.dense)


def test_weights_travel_flat_and_come_back() -> None:
    weights = unflatten(some_weights(), SETTINGS, N_ITEMS)
    np.testing.assert_array_equal(flatten(weights), some_weights())
    assert np.abs(unflatten(some_weights() * 1e9, SETTINGS, N_ITEMS)["gains"]).max() == LARGEST


@pytest.mark.parametrize("wrong", ["short", "nan", "popularity", "catalogue"])
def test_arrays_that_do_not_fit_are_refused(wrong: str) -> None:
    network, popularity, catalogue = some_weights(), POPULARITY, toy_catalogue()
    if wrong == "short":
        network = network[:-1]
    elif wrong == "nan":
        network = np.full_like(network, np.nan)
    elif wrong == "popularity":
        popularity = np.full(N_ITEMS, np.inf)
    else:
        catalogue = toy_catalogue(N_ITEMS + 1)
    with pytest.raises(ModelError, match="Expected"):
        TwoTower(network, popularity, SETTINGS).fit(toy_purchases(1), catalogue)


def test_its_learned_embeddings_can_be_looked_at() -> None:
    model = TwoTower(some_weights(), POPULARITY, SETTINGS).fit(toy_purchases(1), toy_catalogue())
    assert model.item_embeddings.shape == (N_ITEMS, 3)
    assert model.shopper_embeddings(toy_purchases(6)).shape == (6, 3)
