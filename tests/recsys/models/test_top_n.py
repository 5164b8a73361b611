"""The exact top-n against a full sort, ties and masks included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.models.base import chunks, mask_seen, newest_weights, top_n
from tests.contracts.recommenders import toy_purchases

levels = st.sampled_from([-np.inf, np.nan, -1.0, 0.0, 0.5, 1.0])


@given(st.lists(levels, max_size=40), st.integers(0, 45))
def test_top_n_is_the_head_of_a_full_sort(values: list[float], n: int) -> None:
    scores = np.array(values, dtype=np.float32)
    shown = [j for j in range(len(values)) if scores[j] > -np.inf]
    assert top_n(scores, n).tolist() == sorted(shown, key=lambda j: (-scores[j], j))[:n]


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 30))
def test_chunks_cover_every_row_once(rows: int, columns: int, cells: int) -> None:
    blocks = list(chunks(rows, columns, cells))
    assert [row for block in blocks for row in block] == list(range(rows))
    assert all(block.size * columns <= max(cells, columns) for block in blocks)


def test_masking_leaves_the_scores_alone() -> None:
    shoppers = toy_purchases(3)
    scores = np.ones((3, shoppers.n_items), dtype=np.float32)
    masked = mask_seen(scores, shoppers)
    assert (scores == 1).all()
    for row in range(3):
        assert set(np.flatnonzero(masked[row] < 0)) == set(shoppers.history(row).tolist())


def test_newest_weights_match_the_recency_matrix() -> None:
    shoppers = toy_purchases(20, seed=9)
    weights = shoppers.recency_csr(0.6).toarray()
    for row in range(20):
        summed = np.zeros(shoppers.n_items)
        np.add.at(summed, shoppers.history(row), newest_weights(shoppers.history(row), 0.6))
        assert summed == pytest.approx(weights[row])
