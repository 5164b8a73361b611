"""Merges of updates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.federation import Update, fedavg, sum_statistics, support_weighted
from tests.contracts.merge_contract import MergeContract


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
