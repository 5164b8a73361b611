"""Purchases, stored arrays and catalogue must be of one marketplace; nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.data import Interactions, synthesize
from recsys.errors import ModelError
from recsys.evaluation import intervals, paired_difference
from recsys.models import Blend, ItemNeighbours, LocalALS, Popularity

MARKET = synthesize(None, merchants=1, shoppers=50, toys=30, seed=1)
CATALOGUE = MARKET.catalogue


@pytest.mark.parametrize("model", [LocalALS, ItemNeighbours])
def test_purchases_over_another_catalogue_are_refused(model: type) -> None:
    with pytest.raises(ModelError, match="Expected a catalogue of 40 toys, found one of 30"):
        model().fit(Interactions.from_lists([[1, 2], [39]], 40), CATALOGUE)


@pytest.mark.parametrize("model", [LocalALS, ItemNeighbours])
def test_arrays_of_another_catalogue_are_refused(model: type) -> None:
    other = synthesize(None, merchants=1, shoppers=50, toys=40, seed=1)
    (shop,) = other.shops.values()
    arrays = model().fit(shop.all, other.catalogue).arrays()
    with pytest.raises(ModelError, match="Expected a catalogue of 40 toys"):
        model().restore(arrays, CATALOGUE)


def test_a_blend_without_weight_explains_with_zeros() -> None:
    (shop,) = MARKET.shops.values()
    blend = Blend({"popularity": Popularity()}, {"popularity": 0.0}).fit(shop.all, CATALOGUE)
    scores = blend.explain(shop.all.rows([0]), [1, 2, 3]).scores
    assert scores.shape == (3,)
    assert not scores.any()


def test_intervals_leave_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    found = intervals({"none": np.full(4, np.nan), "some": np.array([1.0, np.nan, 1.0, 1.0])}, rng)
    assert np.isnan(found["none"]).all()
    assert found["some"] == (1.0, 1.0)
    difference = paired_difference(np.array([0.0, np.nan, 0.0]), np.array([1.0, 1.0, 1.0]), rng)
    assert (difference.mean, difference.low, difference.high) == (1.0, 1.0, 1.0)
