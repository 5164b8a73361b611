"""Intervals cover what they should, and pairing pays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.evaluation import intervals, paired_difference


def test_the_interval_matches_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, size=2000)
    low, high = intervals({"x": values}, rng, draws=4000)["x"]
    half = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        low, high = intervals({"x": rng.binomial(1, 0.3, size=150) * 1.0}, rng, draws=300)["x"]
        covered += low <= 0.3 <= high
    assert 178 <= covered <= 200


def test_the_same_seed_gives_the_same_interval() -> None:
    values = {"x": np.arange(50.0)}
    first = intervals(values, np.random.default_rng(3))
    assert first == intervals(values, np.random.default_rng(3))
    assert first != intervals(values, np.random.default_rng(4))


def test_unknown_values_are_left_out_and_nobody_gives_nan() -> None:
    values = np.array([1.0, 1.0, np.nan])
    assert intervals({"x": values}, np.random.default_rng(0))["x"] == (1.0, 1.0)
    empty = intervals({"x": np.empty(0)}, np.random.default_rng(0))["x"]
    assert all(math.isnan(bound) for bound in empty)
    assert intervals({}, np.random.default_rng(0)) == {}


def test_many_shoppers_are_resampled_in_blocks() -> None:
    values = np.random.default_rng(5).random(30_000)
    low, high = intervals({"x": values}, np.random.default_rng(0), draws=200)["x"]
    assert low < values.mean() < high
    assert high - low < 0.02


def test_a_paired_difference_sees_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(6)
    first = rng.normal(0, 10, size=400)
    second = first + rng.normal(0.1, 0.1, size=400)
    found = paired_difference(first, second, rng)
    assert found.low > 0
    assert found.mean == pytest.approx((second - first).mean())
    assert found.standard_error == pytest.approx((second - first).std(ddof=1) / 20)
    one, two = (intervals({"x": v}, rng)["x"] for v in (first, second))
    assert one[0] < two[1]
    assert two[0] < one[1]


def test_no_difference_is_no_difference() -> None:
    values = np.random.default_rng(7).random(20)
    found = paired_difference(values, values, np.random.default_rng(0))
    assert (found.mean, found.low, found.high, found.standard_error) == (0, 0, 0, 0)
    nobody = paired_difference(np.empty(0), np.empty(0), np.random.default_rng(0))
    assert math.isnan(nobody.mean)
    with pytest.raises(ModelError, match="same targets"):
        paired_difference(values, values[:3], np.random.default_rng(0))
