"""What a merchant reads out of others' noised sums."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.data import Interactions
from recsys.errors import ModelError
from recsys.models.co_purchase import (
    CoPurchaseSettings,
    PairSums,
    SharedPairs,
    exact_pairs,
    pair_cells,
)
from recsys.models.co_purchase.posterior import posterior_mean, shrunk_counts
from tests.contracts.recommenders import (
    N_ITEMS,
    RecommenderContract,
    toy_catalogue,
    toy_purchases,
)

SETTINGS = CoPurchaseSettings(pairs_per_toy=6)
CELLS = pair_cells(toy_catalogue(), 6)
OTHERS = toy_purchases(400, seed=7)


def sums(shop: Interactions, sigma: float = 0.0, seed: int = 0) -> PairSums:
    rng = np.random.default_rng(seed)
    pairs = exact_pairs(shop, CELLS, SETTINGS)
    counts = shop.item_counts().astype(np.float64)
    return PairSums(
        pairs + sigma * rng.normal(size=pairs.size),
        counts + sigma * rng.normal(size=counts.size),
        float(shop.n_shoppers),
        sigma**2,
        sigma**2,
    )


class TestSharedPairs(RecommenderContract):
    stores = False

    def make(self) -> SharedPairs:
        return SharedPairs(CELLS, sums(OTHERS, 0.5), SETTINGS)


def test_toys_that_others_bought_together_score_highest() -> None:
    model = SharedPairs(CELLS, sums(OTHERS), SETTINGS).fit(toy_purchases(), toy_catalogue())
    scores = model.score(Interactions.from_lists([[4]], N_ITEMS))[0]
    pairs = exact_pairs(OTHERS, CELLS, SETTINGS)
    with_4 = (CELLS.toys == 4).any(axis=1) & (pairs > 0)
    partners = {int(toy) for toy in CELLS.toys[with_4].ravel()} - {4}
    assert set(np.flatnonzero(scores > 0)) == partners


def test_ones_own_part_can_be_taken_out_to_the_last_bit() -> None:
    own = toy_purchases(90, seed=3)
    mine, theirs = sums(own, 1.0, seed=1), sums(OTHERS, 1.0, seed=2)
    total = PairSums(
        mine.pairs + theirs.pairs,
        mine.counts + theirs.counts,
        mine.shoppers + theirs.shoppers,
        mine.pair_variance + theirs.pair_variance,
        mine.count_variance + theirs.count_variance,
    )
    left = SharedPairs(CELLS, total, SETTINGS).without(mine)
    np.testing.assert_allclose(left.sums.pairs, theirs.pairs, atol=1e-9)
    np.testing.assert_allclose(left.sums.counts, theirs.counts, atol=1e-9)
    assert left.sums.pair_variance == pytest.approx(1.0)
    assert left.sums.shoppers == 400


def test_what_noise_drowned_says_next_to_nothing() -> None:
    shoppers = toy_purchases(30, seed=1)

    def loudest(sigma: float) -> float:
        model = SharedPairs(CELLS, sums(OTHERS, sigma), SETTINGS)
        return float(model.fit(toy_purchases(), toy_catalogue()).score(shoppers).max())

    assert loudest(1000.0) < 0.7 * loudest(0.0)
    noise = SharedPairs(CELLS, sums(OTHERS.rows(np.arange(0)), 1000.0), SETTINGS)
    # Nobody behind the sums: all that is there is noise, and almost all of it is shrunk away.
    assert noise.fit(toy_purchases(), toy_catalogue()).score(shoppers).max() < 0.7 * loudest(0.0)


def test_the_posterior_lies_between_prior_and_sum() -> None:
    rng = np.random.default_rng(0)
    expected = np.full(20_000, 0.4)
    truth = rng.gamma(0.3, 0.4 / 0.3, expected.size)
    noised = truth + 2.0 * rng.normal(size=truth.size)
    found = posterior_mean(noised, expected, 2.0, 0.3)
    assert (found >= 0).all()
    best = ((found - truth) ** 2).mean()
    # Better than believing the sum, than believing the prior, and than the best straight line.
    slope = np.cov(noised, truth)[0, 1] / noised.var()
    line = truth.mean() + slope * (noised - noised.mean())
    assert best < ((noised - truth) ** 2).mean()
    assert best < ((expected - truth) ** 2).mean()
    assert best < ((line - truth) ** 2).mean()
    assert found.mean() == pytest.approx(0.4, rel=0.1)
    assert (np.diff(found[np.argsort(noised)]) >= -1e-9).all()


def test_without_noise_sums_are_believed() -> None:
    noised = np.array([0.0, 3.0, 7.5])
    np.testing.assert_array_equal(posterior_mean(noised, np.ones(3), 0.0, 0.3), noised)
    own = np.array([0.0, 1.0, 9.0])
    np.testing.assert_allclose(shrunk_counts(noised, 0.0, own, 10.5), noised)
    far = shrunk_counts(noised, 1e12, own, 12.0)
    np.testing.assert_allclose(far, 12.0 * (own + 1) / 13, rtol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sums_that_are_not_numbers_are_refused(value: float) -> None:
    broken = sums(OTHERS)
    broken.pairs[0] = value
    with pytest.raises(ModelError, match="finite"):
        SharedPairs(CELLS, broken, SETTINGS)


def test_huge_sums_of_a_bad_merchant_give_finite_scores() -> None:
    huge = sums(OTHERS, 1.0)
    huge.pairs[:] = np.where(np.arange(huge.pairs.size) % 2, 1e300, -1e300)
    huge.counts[:] = -1e300
    model = SharedPairs(CELLS, huge, SETTINGS).fit(toy_purchases(), toy_catalogue())
    assert np.isfinite(model.score(toy_purchases(5))).all()


@pytest.mark.parametrize("expected", [1e-6, 0.4, 30.0, 1e5])
@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_the_posterior_is_that_of_its_definition(expected: float, sigma: float) -> None:
    noised = np.concatenate([np.linspace(-5, 12, 12) * sigma, [100.0, 5e3]])
    found = posterior_mean(noised, np.full(noised.size, expected), sigma, 0.3)
    for value, mean in zip(noised, found, strict=True):
        # In c^0.3 the density's pole at 0 is gone.
        edges = np.linspace(0, (max(value, 0) + 12 * sigma) ** 0.3, 400_001)
        count = edges[1:] ** (1 / 0.3)
        log = -0.3 * count / expected - (count - value) ** 2 / (2 * sigma**2)
        weight = np.exp(log - log.max())
        assert mean == pytest.approx((weight * count).sum() / weight.sum(), rel=2e-3)


def test_strong_evidence_is_believed_however_seldom_the_pair_was_expected() -> None:
    noised = np.array([200.0, 5e3, 1e9, 1.0, 2.0])
    found = posterior_mean(noised, np.full(5, 0.4), 3.0, 0.3)
    np.testing.assert_allclose(found[:3], noised[:3], atol=10)
    # One pair that is bought very often does not blur what is read out of the others.
    np.testing.assert_array_equal(found[3:], posterior_mean(noised[3:], np.full(2, 0.4), 3.0, 0.3))
