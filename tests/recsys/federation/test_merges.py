"""Merges of updates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.federation import (
    Update,
    capped_fedavg,
    fedavg,
    precision_weighted,
    shrink_rows,
    sum_statistics,
    support_weighted,
)
from recsys.privacy import GaussianEvent
from tests.contracts.merge_contract import MergeContract


def noisy(x: np.ndarray, n: np.ndarray, weight: float, merchant: str, z: float = 7.0) -> Update:
    return Update({"x": x, "n": n}, weight, (GaussianEvent("x", 1.0, z),), merchant)


class TestFedavg(MergeContract):
    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return fedavg(updates, "x")

    def test_merchants_weigh_by_their_shoppers(self) -> None:
        updates = [self.update(np.zeros((1, 1)), 30.0), self.update(np.ones((1, 1)), 10.0)]
        assert self.merge(updates) == pytest.approx(0.25)

    def test_weights_of_nothing_are_refused(self) -> None:
        with pytest.raises(ModelError, match="weight above 0"):
            self.merge([self.update(np.ones((1, 1)), 0.0)])


class TestSupportWeighted(MergeContract):
    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return support_weighted(updates, "x", "n")

    def update(self, x: np.ndarray, weight: float = 1.0, merchant: str = "a") -> Update:
        return Update({"x": x, "n": np.full(len(x), 5.0 * weight)}, weight, merchant=merchant)

    def test_each_row_weighs_by_its_own_support(self) -> None:
        left = Update({"x": np.zeros((3, 2)), "n": np.array([3.0, -4.0, -1.0])}, 1.0)
        right = Update({"x": np.ones((3, 2)), "n": np.array([1.0, 2.0, -1.0])}, 4.0)
        merged = self.merge([left, right])
        assert merged == pytest.approx(np.array([[0.25] * 2, [1.0] * 2, [0.8] * 2]))

    def test_support_of_another_size_is_refused(self) -> None:
        update = Update({"x": np.ones((3, 2)), "n": np.ones(2)}, 1.0)
        with pytest.raises(ModelError, match="one number of 'n' for each row"):
            self.merge([update])


class TestCappedFedavg(MergeContract):
    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return capped_fedavg(updates, "x", 0.5)

    def test_a_giant_counts_for_no_more_than_its_cap(self) -> None:
        updates = [
            self.update(np.zeros((1, 1)), 50_000.0),
            self.update(np.ones((1, 1)), 30.0),
            self.update(np.full((1, 1), 5.0), 10.0),
        ]
        assert self.merge(updates) == pytest.approx(0.5 * 0 + 0.375 * 1 + 0.125 * 5)


class TestPrecisionWeighted(MergeContract):
    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return precision_weighted(updates, "x", "n", support_sigma=0.5)

    def update(self, x: np.ndarray, weight: float = 1.0, merchant: str = "a") -> Update:
        return noisy(x, np.full(len(x), 5.0 * weight), weight, merchant)

    def test_a_small_merchant_counts_for_less_the_fewer_shoppers_all_have(self) -> None:
        zero, one = np.zeros((4, 2)), np.ones((4, 2))
        few = self.merge([self.update(zero, 10.0), self.update(one, 30.0, "b")])
        many = self.merge([self.update(zero, 1e5), self.update(one, 3e5, "b")])
        assert many == pytest.approx(0.75, abs=1e-3)
        assert (few > 0.8).all()

    def test_rows_weigh_by_inverse_variance(self) -> None:
        left = noisy(np.zeros((2, 4)), np.array([100.0, 0.0]), 1.0, "a", z=5.0)
        right = noisy(np.ones((2, 4)), np.array([300.0, 8.0]), 1.0, "b", z=5.0)
        merged = precision_weighted([left, right], "x", "n")
        first, second = 100**2 / (100 + 4 * 25), 300**2 / (300 + 4 * 25)
        np.testing.assert_allclose(merged[0], second / (first + second))
        np.testing.assert_allclose(merged[1], 1.0)

    def test_without_noise_it_is_the_average_by_support(self) -> None:
        rng = np.random.default_rng(0)
        updates = [
            Update({"x": rng.normal(size=(6, 2)), "n": rng.uniform(0, 9, 6)}, w) for w in (1.0, 3.0)
        ]
        np.testing.assert_allclose(
            precision_weighted(updates, "x", "n"), support_weighted(updates, "x", "n")
        )

    def test_a_tiny_merchant_with_noisy_counts_hardly_counts(self) -> None:
        rng = np.random.default_rng(4)
        large = noisy(np.zeros((300, 4)), 300 + 29 * rng.normal(size=300), 20_000.0, "large")
        small = noisy(np.ones((300, 4)), 1 + 29 * rng.normal(size=300), 50.0, "small")
        by_support = support_weighted([large, small], "x", "n")
        by_precision = precision_weighted([large, small], "x", "n", support_sigma=29.0)
        assert by_support.mean() > 0.02
        assert by_precision.mean() < 0.001


class TestShrinkRows(MergeContract):
    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return shrink_rows(updates, "x", "n", prior_shoppers=1e-12)

    def update(self, x: np.ndarray, weight: float = 1.0, merchant: str = "a") -> Update:
        return Update({"x": x, "n": np.full(len(x), 5.0 * weight)}, weight, merchant=merchant)

    def test_rows_with_little_support_are_drawn_to_the_prior(self) -> None:
        update = Update({"x": np.ones((3, 2)), "n": np.array([0.0, 10.0, 1e9])}, 1.0)
        merged = shrink_rows([update], "x", "n", prior=np.full((3, 2), 5.0), prior_shoppers=10.0)
        np.testing.assert_allclose(merged, [[5.0] * 2, [3.0] * 2, [1.0] * 2], rtol=1e-6)

    def test_without_a_prior_they_are_drawn_to_the_mean_row(self) -> None:
        update = Update({"x": np.array([[0.0], [4.0], [9.0]]), "n": np.array([3.0, 1.0, 0.0])}, 1.0)
        merged = shrink_rows([update], "x", "n", prior_shoppers=1.0)
        np.testing.assert_allclose(merged[:, 0], [0.25, 2.5, 1.0])  # the mean row is 1

    def test_a_prior_of_another_shape_is_refused(self) -> None:
        with pytest.raises(ModelError, match="prior of 'x' of shape"):
            shrink_rows([self.update(np.ones((2, 2)))], "x", "n", prior=np.ones((3, 2)))


class TestSumStatistics(MergeContract):
    equal_merchants_scale = 2.0

    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        return sum_statistics(updates)["x"]

    def test_every_array_is_summed(self) -> None:
        updates = [Update({"a": np.ones(2), "b": np.ones(3)}, 0.0) for _ in range(3)]
        sums = sum_statistics(updates)
        assert set(sums) == {"a", "b"}
        assert sums["b"] == pytest.approx(np.full(3, 3.0))


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_impossible_weights_are_refused(weight: float) -> None:
    with pytest.raises(ModelError, match="weight of 'toys'"):
        Update({"x": np.ones(1)}, weight, merchant="toys")


def test_arrays_of_texts_are_refused() -> None:
    with pytest.raises(ModelError, match="Expected finite numbers"):
        Update({"x": np.array(["a"])}, 1.0)
