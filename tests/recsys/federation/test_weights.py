"""Shares and weights of merchants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ModelError
from recsys.federation import Update
from recsys.federation.weights import (
    capped_shares,
    denoised_support,
    precision_weights,
    relative_noise,
    size_shares,
)
from recsys.privacy import GaussianEvent


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=30),
    st.floats(0.01, 1.0),
)
def test_capped_shares_add_up_and_keep_to_the_cap(sizes: list[float], largest: float) -> None:
    shares = np.array(sizes) / np.sum(sizes)
    capped = capped_shares(shares, largest)
    assert capped.sum() == pytest.approx(1.0)
    assert capped.max() <= max(largest, 1 / len(sizes)) * (1 + 1e-9)
    # The order of merchants by size stays as it was.
    assert (np.diff(capped[np.argsort(shares, kind="stable")]) >= -1e-12).all()


def test_a_cap_that_nobody_reaches_changes_nothing() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    np.testing.assert_array_equal(capped_shares(shares, 0.5), shares)


def test_a_second_merchant_that_the_excess_lifts_over_the_cap_is_capped_too() -> None:
    np.testing.assert_allclose(
        capped_shares(np.array([0.8, 0.15, 0.05]), 0.4), [0.4, 0.4, 0.2], rtol=1e-12
    )


@pytest.mark.parametrize("largest", [0.0, -1.0, 1.1, float("nan")])
def test_an_impossible_cap_is_refused(largest: float) -> None:
    with pytest.raises(ModelError, match=r"largest share in \(0, 1\]"):
        capped_shares(np.array([1.0]), largest)


def test_sizes_near_the_largest_number_do_not_overflow() -> None:
    updates = [Update({}, 1.5e308, merchant=name) for name in "ab"]
    np.testing.assert_allclose(size_shares(updates), 0.5)


def test_noise_is_read_from_the_booked_events() -> None:
    events = (GaussianEvent("a", 2.0, 10.0), GaussianEvent("b", 1.0, 10.0))
    assert relative_noise(Update({}, 1.0, events)) == pytest.approx(1 / np.sqrt(0.04 + 0.01))
    assert relative_noise(Update({}, 1.0)) == 0.0


def test_exact_counts_are_left_alone() -> None:
    support = np.random.default_rng(0).uniform(0, 9, (3, 20))
    shares = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(denoised_support(support, shares, 0.0), support)


def test_counts_that_are_all_noise_become_the_share_of_the_total() -> None:
    rng = np.random.default_rng(1)
    total = rng.uniform(500, 1500, 400)
    true = np.stack([0.99 * total, 0.01 * total])
    noised = true + 30 * rng.normal(size=true.shape)
    found = denoised_support(noised, np.array([0.99, 0.01]), 30.0)
    plain = np.abs(np.maximum(noised[1], 0) - true[1]).mean()
    assert np.abs(found[1] - true[1]).mean() < 0.35 * plain


def test_merchants_without_a_speciality_are_not_given_one_by_chance() -> None:
    rng = np.random.default_rng(3)
    noised = 17 + 29 * rng.normal(size=(16, 300))
    found = denoised_support(noised, np.full(16, 1 / 16), 29.0)
    by_share = np.maximum(noised.sum(axis=0), 0) / 16
    assert (found != by_share).any(axis=1).sum() <= 2


def test_a_specialist_keeps_its_own_counts() -> None:
    rng = np.random.default_rng(2)
    true = np.zeros((2, 400))
    true[0, :200], true[1, 200:] = 1000.0, 1000.0
    found = denoised_support(true + 30 * rng.normal(size=true.shape), np.array([0.5, 0.5]), 30.0)
    assert np.abs(found - true).mean() < 30
    assert found[0, :200].mean() > 50 * found[0, 200:].mean()


def test_precision_grows_with_the_square_where_noise_rules_and_in_line_where_it_does_not() -> None:
    weights = precision_weights(np.array([[1.0, 1e8], [10.0, 1e9]]), np.full(2, 30.0), 16)
    assert weights[1, 0] / weights[0, 0] == pytest.approx(100, rel=0.01)
    assert weights[1, 1] / weights[0, 1] == pytest.approx(10, rel=0.01)


def test_no_support_and_no_noise_gives_no_weight_instead_of_nothing_by_nothing() -> None:
    assert precision_weights(np.zeros((1, 2)), np.zeros(1), 4).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_an_impossible_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ModelError, match="finite sigma"):
        denoised_support(np.ones((1, 2)), np.ones(1), sigma)
