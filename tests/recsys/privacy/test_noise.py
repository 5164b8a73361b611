"""Released noise: its size, its shape, its grid, and that no two draws are alike.

Bounds of random quantities are six standard deviations wide: a false alarm once in 5e8 runs.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from recsys.errors import PrivacyError
from recsys.privacy import GaussianEvent, SecureNoise, grid_for

N = 400_000
SIX = 6.0


def test_moments_are_those_of_a_gaussian() -> None:
    draws = SecureNoise().gaussian(N, 3.0, grid_for(3.0, N)) / 3.0
    assert abs(draws.mean()) < SIX / math.sqrt(N)
    assert abs((draws**2).mean() - 1) < SIX * math.sqrt(2 / N)
    assert abs((draws**3).mean()) < SIX * math.sqrt(15 / N)
    assert abs((draws**4).mean() - 3) < SIX * math.sqrt(96 / N)


def test_the_whole_distribution_is_gaussian() -> None:
    draws = SecureNoise().gaussian(N, 0.01, grid_for(0.01, N)) / 0.01
    assert kstest(draws, "norm").pvalue > 1e-9


def test_neighbouring_draws_are_independent() -> None:
    draws = SecureNoise().gaussian(N, 1.0, grid_for(1.0, N))
    half = N // 2
    for lag in (1, 2, half):  # cosines and sines of one pair lie apart inside a block
        product = draws[:-lag] * draws[lag:]
        assert abs(product.mean()) < SIX / math.sqrt(len(product))
        squares = (draws[:-lag] ** 2 - 1) * (draws[lag:] ** 2 - 1)
        assert abs(squares.mean()) < SIX * 2 / math.sqrt(len(squares))


def test_two_releases_share_no_noise() -> None:
    noise = SecureNoise()
    first, _ = noise.release_sum(np.zeros(N), 1.0, 1.0, "x")
    second, _ = noise.release_sum(np.zeros(N), 1.0, 1.0, "x")
    assert abs((first * second).mean()) < SIX * 1.001 / math.sqrt(N)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"\x80", b"\x7f"])
def test_extreme_random_bytes_give_finite_noise(byte: bytes) -> None:
    draws = SecureNoise(lambda size: byte * size).gaussian(1001, 2.0, 2.0**-20)
    assert np.isfinite(draws).all()
    assert np.abs(draws).max() < 2.0 * 9.5


@given(st.floats(1e-6, 1e6), st.integers(1, 2000), st.integers(0, 2**32))
def test_every_released_number_lies_on_the_public_grid(sigma: float, size: int, seed: int) -> None:
    exact = np.random.default_rng(seed).uniform(-1e3, 1e3, size) * sigma
    noised, event = SecureNoise().release_sum(exact, 0.1 * sigma, sigma, "x")
    grid = grid_for(sigma, size)
    assert math.frexp(grid)[0] == 0.5
    assert np.array_equal(noised, np.rint(noised / grid) * grid)
    rounding = event.sensitivity - 0.1 * sigma
    assert rounding >= 2 * grid * math.sqrt(size) * (1 - 1e-6)
    assert rounding <= 3e-6 * sigma


@given(st.floats(1e-9, 1e9), st.floats(1e-3, 1e3), st.integers(1, 10_000_000))
def test_rounding_never_costs_more_than_planned(
    sensitivity: float, ratio: float, size: int
) -> None:
    sigma = sensitivity * ratio
    event = SecureNoise().release("x", sensitivity, sigma, size).event
    assert event.mu <= GaussianEvent("x", sensitivity, sigma).mu
    assert event.mu == pytest.approx(1 / ratio, rel=1e-12)


def test_neighbouring_sums_stay_within_the_booked_sensitivity_after_rounding() -> None:
    silent = SecureNoise()
    silent.gaussian = lambda shape, sigma, grid: np.zeros(shape)  # type: ignore[method-assign]
    rng = np.random.default_rng(3)
    for size in (1, 10, 1000):
        exact = rng.normal(size=size) * 100
        change = rng.normal(size=size)
        change /= np.linalg.norm(change)
        left, event = silent.release_sum(exact, 1.0, 2.0, "x")
        right, _ = silent.release_sum(exact + change, 1.0, 2.0, "x")
        assert np.linalg.norm(right - left) <= event.sensitivity


def test_chunks_make_one_release() -> None:
    noise = SecureNoise()
    exact = np.arange(1000.0) * 1e5
    release = noise.release("x", 1.0, 2.0, exact.size)
    noised = np.concatenate([release.add(exact[:300]), release.add(exact[300:])])
    assert release.close() == noise.release_sum(exact, 1.0, 2.0, "x")[1]
    assert np.abs(noised - exact).max() < 2.0 * 9.5


def test_a_release_must_be_announced_in_full() -> None:
    noise = SecureNoise()
    with pytest.raises(PrivacyError, match="at most 2 more"):
        noise.release("x", 1.0, 1.0, 2).add(np.zeros(3))
    release = noise.release("x", 1.0, 1.0, 3)
    release.add(np.zeros(2))
    with pytest.raises(PrivacyError, match="1 more"):
        release.close()


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(PrivacyError, match="check the clipping"):
        SecureNoise().release_sum(np.array([math.nan]), 1.0, 1.0, "x")


def test_sums_outside_the_grid_are_cut_off_without_a_word() -> None:
    noised, _ = SecureNoise().release_sum(np.array([1e30, -math.inf, 5.0]), 1.0, 1.0, "x")
    limit = grid_for(1.0, 3) * 2**52
    assert noised == pytest.approx(np.array([limit, -limit, 5.0]), abs=9.5)


@pytest.mark.parametrize("grid", [0.0, -1.0, 0.3, 1.0])
def test_a_grid_that_would_show_is_refused(grid: float) -> None:
    with pytest.raises(PrivacyError, match="Expected grid"):
        SecureNoise().gaussian(3, 1.0, grid)


def test_nothing_to_draw_is_fine() -> None:
    assert SecureNoise().gaussian((0, 4), 1.0, 2.0**-20).shape == (0, 4)
