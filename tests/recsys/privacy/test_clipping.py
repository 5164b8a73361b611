"""What one shopper can add is bounded, whatever the shopper does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.sparse import random as random_sparse

from recsys.errors import PrivacyError
from recsys.privacy import clip_rows, keep_at_most


@given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6)), st.floats(1e-3, 1e3))
def test_no_row_is_longer_than_the_bound(rows: np.ndarray, bound: float) -> None:
    clipped = clip_rows(rows, bound)
    assert np.isfinite(clipped).all()
    assert (np.linalg.norm(clipped, axis=1) <= bound).all()


@pytest.mark.parametrize("size", [1e-170, 1e-101, 1e-99, 1.0, 1e99, 1e101, 1e170, 1e308])
def test_a_row_is_clipped_alike_whatever_its_size(size: float) -> None:
    rows = np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 0.0]]) * (size / 4)
    before = rows.copy()
    clipped = clip_rows(rows, 0.5 * size)
    assert clipped / size == pytest.approx(np.array([[0.3, 0.4], [0, 0], [0, 0], [0, 0]]))
    assert np.array_equal(rows, before, equal_nan=True)


def test_short_rows_are_kept_and_long_ones_keep_their_direction() -> None:
    rows = np.array([[0.3, 0.4], [30.0, 40.0], [0.0, 0.0]])
    assert clip_rows(rows, 1.0) == pytest.approx(np.array([[0.3, 0.4], [0.6, 0.8], [0, 0]]))


def test_a_bound_of_zero_is_refused() -> None:
    with pytest.raises(PrivacyError, match="Expected bound"):
        clip_rows(np.ones((1, 1)), 0.0)


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_each_shopper_keeps_at_most_so_many_of_her_own_toys(seed: int, bound: int) -> None:
    rng = np.random.default_rng(seed)
    bought = random_sparse(7, 12, density=0.4, format="csr", rng=rng)
    kept = keep_at_most(bought, bound, rng.random(bought.nnz))
    before, after = np.diff(bought.indptr), np.diff(kept.indptr)
    assert np.array_equal(after, np.minimum(before, bound))
    assert not ((kept != 0) > (bought != 0)).nnz


def test_each_toy_has_the_same_chance_to_be_kept() -> None:
    rng = np.random.default_rng(0)
    bought = random_sparse(20_000, 4, density=1.0, format="csr", rng=rng)
    kept = keep_at_most(bought, 1, rng.random(bought.nnz))
    share = np.bincount(kept.indices, minlength=4) / 20_000
    assert share == pytest.approx(0.25, abs=6 * np.sqrt(0.25 * 0.75 / 20_000))


def test_a_shop_without_shoppers_is_fine() -> None:
    empty = random_sparse(0, 5, density=0.5, format="csr")
    assert keep_at_most(empty, 3, np.empty(0)).shape == (0, 5)
