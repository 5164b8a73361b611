"""Fold-in never fails for one shopper alone, whatever the public state was made to be."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.data import Interactions
from recsys.models import SharedEmbeddings
from recsys.models.fold_in import NORM_BOUND, FoldIn, bounded_embeddings
from recsys.models.private_als import PrivateALSSettings, statistics


def _hostile(size: int) -> list[np.ndarray]:
    """States made to overflow, to cancel, or to make one toy's system singular."""
    spike = np.zeros((12, size), dtype=np.float32)
    spike[7, :2] = 2.0 ** (94 / 4)
    huge = np.full((12, size), 3e38, dtype=np.float32)
    return [spike, huge, np.zeros((12, size), dtype=np.float32), -huge]


@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("number", range(4))
def test_a_hostile_state_ends_alike_with_and_without_a_shopper(number: int, alpha: float) -> None:
    state = _hostile(4)[number]
    settings = PrivateALSSettings(factors=4, alpha=alpha)
    others = [[0, 1, 2], [3, 4], [5]]
    for histories in (others, [*others, [7]], [*others, [7, 7, 1]]):
        found = statistics(Interactions.from_lists(histories, 12), state, np.ones(12), settings)
        assert np.isfinite(found.gram).all()
        assert np.isfinite(found.linear).all()
        scores = SharedEmbeddings(state, alpha=alpha).score(Interactions.from_lists(histories, 12))
        assert np.isfinite(scores).all()


def _by_hand(
    weights: sp.csr_matrix, known: np.ndarray, ridge: np.ndarray, offset: float
) -> np.ndarray:
    """The formula, one shopper after the other."""
    solved = []
    for row in weights:
        toys, w = known[row.indices].astype(float), row.data.astype(float)
        solved.append(np.linalg.solve(ridge + (toys.T * (w + offset)) @ toys, toys.T @ w))
    return np.array(solved)


def _weights(rows: int, toys: int, seed: int) -> sp.csr_matrix:
    """Rows of 0 to `toys` toys, with weights from 1 to 6."""
    rng = np.random.default_rng(seed)
    dense = rng.uniform(1, 6, (rows, toys)) * (rng.random((rows, toys)) < rng.random((rows, 1)))
    return sp.csr_matrix(dense.astype(np.float32))


@pytest.mark.parametrize("offset", [0.0, -1.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_fold_in_is_the_formula_for_short_and_long_histories(offset: float, threads: int) -> None:
    known = np.random.default_rng(1).normal(size=(30, 5))
    weights, ridge = _weights(300, 30, 2), 0.2 * known.T @ known + 0.01 * np.eye(5)
    lengths = np.diff(weights.indptr)
    assert lengths.min() == 0
    assert (lengths <= 5).sum() > 20
    found = FoldIn(known, ridge, offset).vectors(weights, threads)
    assert found == pytest.approx(_by_hand(weights, known, ridge, offset), rel=1e-9, abs=1e-12)


@pytest.mark.attack
@pytest.mark.parametrize("offset", [0.0, -1.0])
def test_a_very_long_history_is_solved_in_pieces_and_shows_in_no_memory(
    offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.random.default_rng(1).normal(size=(30, 5))
    weights, ridge = _weights(300, 30, 2), 0.2 * known.T @ known + 0.01 * np.eye(5)
    monkeypatch.setattr("recsys.models.fold_in._CELLS", 60)
    found = FoldIn(known, ridge, offset).vectors(weights)
    assert found == pytest.approx(_by_hand(weights, known, ridge, offset), rel=1e-9, abs=1e-12)

    monkeypatch.undo()
    many = np.random.default_rng(2).normal(size=(60_000, 16)) * 0.01
    model = FoldIn(many, np.eye(16), offset)
    peaks = []
    for length in (5_000, 60_000):
        row = sp.csr_matrix(np.ones((1, length), dtype=np.float32), shape=(1, 60_000))
        tracemalloc.start()
        model.vectors(row)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2 * 1024 * 1024  # all at once would be 30 MB


def test_a_row_is_the_same_to_the_last_bit_whoever_stands_beside_it() -> None:
    known = np.random.default_rng(1).normal(size=(30, 5))
    known[7] = [1, 1, 0, 0, 0]
    weights, model = _weights(300, 30, 3), FoldIn(known, np.eye(5), -1.0)
    together = model.vectors(weights, threads=2)
    alone = np.concatenate([model.vectors(row) for row in weights])
    np.testing.assert_array_equal(together, alone)
    assert (np.diff(weights.indptr) == 1).sum() > 2
    # A singular row, 1 + (0.5 - 1) 2 = 0, joins those of one toy, which are then solved one by one.
    singular = sp.csr_matrix(([np.float32(0.5)], ([0], [7])), shape=(1, 30))
    found = model.vectors(sp.vstack([weights, singular]).tocsr())
    np.testing.assert_array_equal(found[:-1], alone)
    assert not found[-1].any()


def test_embeddings_are_bounded_and_an_endless_row_spoils_no_other() -> None:
    assert np.linalg.norm(bounded_embeddings(_hostile(4)[1]), axis=1).max() <= NORM_BOUND
    known = np.array([[1.0, 0.0], [1e200, 1e200], [0.0, 1.0]])
    histories = sp.csr_matrix([[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 0, 0]], dtype="f4")
    solved = FoldIn(known, np.eye(2)).vectors(histories)
    np.testing.assert_allclose(solved[[0, 3]], [[0.5, 0.5], [0.5, 0]])
    assert np.isfinite(solved).all()
