"""The best of many rows at once are those of each row alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.models import Popularity
from recsys.models.ranking import best_of_rows, top_n
from tests.contracts.recommenders import toy_catalogue, toy_purchases


def _same_as_row_by_row(scores: np.ndarray, n: int) -> None:
    ids, values = best_of_rows(scores, n)
    assert len(ids) == len(values) == len(scores)
    for row, found, value in zip(scores, ids, values, strict=True):
        best = top_n(row, n)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, best)
        np.testing.assert_array_equal(value, row[best])


@given(
    st.integers(0, 6),
    st.integers(0, 300),
    st.integers(0, 12),
    st.sampled_from([2, 5, 1000]),
    st.sampled_from([0.0, 0.3, 0.97]),
    st.integers(0, 2**32),
)
def test_few_and_many_ties(
    rows: int, items: int, n: int, levels: int, hidden: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (rows, items)).astype(np.float32)
    scores[rng.random(scores.shape) < hidden] = -np.inf
    scores[rng.random(scores.shape) < hidden / 10] = np.nan
    _same_as_row_by_row(scores, n)


def test_rows_of_every_kind_side_by_side() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, 1000)).astype(np.float32)
    scores[1] = 0.0  # all level
    scores[2] = np.where(rng.random(1000) < 0.01, 1.0, 0.0)  # fewer above than asked for
    scores[3] = -np.inf  # nothing to show
    scores[4] = np.where(np.arange(1000) < 980, -1.0, -2.0)  # level to the end of the catalogue
    scores[5, :995] = -np.inf
    scores[6, ::16] = 5.0
    scores[7] = np.nan
    scores[8, 5] = np.inf
    scores[4, :900] = -3.0
    for n in (1, 5, 20):
        _same_as_row_by_row(scores, n)


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_change_no_list(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    shoppers = toy_purchases(50, seed=3)
    model = Popularity().fit(shoppers, toy_catalogue())
    whole = model.recommend(shoppers, 7)
    monkeypatch.setattr("recsys.models.base._LIST_CELLS", 3 * shoppers.n_items)
    split = model.recommend(shoppers, 7, threads=threads)
    assert [row.tolist() for row in split.ids] == [row.tolist() for row in whole.ids]
    assert [row.tolist() for row in split.scores] == [row.tolist() for row in whole.scores]


def test_what_a_model_scored_is_its_own_again() -> None:
    """`recommend` writes into the scores: a model that keeps them would spoil the next answer."""
    shoppers = toy_purchases(4, seed=3)
    model = Popularity().fit(shoppers, toy_catalogue())
    before = model.score(shoppers)
    model.recommend(shoppers, 5)
    np.testing.assert_array_equal(model.score(shoppers), before)
