"""Fold-in never fails for one shopper alone, whatever the public state was made to be."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.data import Interactions
from recsys.models import SharedEmbeddings
from recsys.models.fold_in import NORM_BOUND, bounded_embeddings, fold_in
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


def _by_hand(confidences: sp.csr_matrix, known: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """The formula, one shopper after the other."""
    solved = []
    for row in confidences:
        toys, c = known[row.indices].astype(float), row.data.astype(float)
        left = ridge + (toys.T * (np.abs(c) - 1)) @ toys
        solved.append(np.linalg.solve(left, toys.T @ np.maximum(c, 0)))
    return np.array(solved)


def _confidences(rows: int, toys: int, seed: int) -> sp.csr_matrix:
    found = sp.random(rows, toys, 0.2, format="csr", rng=seed, dtype=np.float32)
    found.data = found.data * 5 + 1
    found.data[::3] *= -1
    return found


@pytest.mark.parametrize(("dtype", "rel"), [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_fold_in_is_the_formula(dtype: type, rel: float, threads: int) -> None:
    known = np.random.default_rng(1).normal(size=(30, 5)).astype(dtype)
    confidences = _confidences(200, 30, 2)
    ridge = (known.T @ known + np.eye(5)).astype(dtype)
    found = fold_in(confidences, known, ridge, threads)
    assert found.dtype == dtype
    assert found == pytest.approx(_by_hand(confidences, known, ridge), rel=rel, abs=rel)


def test_a_row_is_the_same_to_the_last_bit_whoever_stands_beside_it() -> None:
    known = np.random.default_rng(1).normal(size=(30, 5))
    confidences, ridge = _confidences(200, 30, 3), np.eye(5)
    together = fold_in(confidences, known, ridge, threads=2)
    alone = np.concatenate([fold_in(row, known, ridge) for row in confidences])
    np.testing.assert_array_equal(together, alone)
    # A row whose system is not positive definite comes first: all others are solved one by one.
    spoiler = sp.csr_matrix(np.full((1, 30), 1e-3, dtype=np.float32))
    found = fold_in(sp.vstack([spoiler, confidences]).tocsr(), known, ridge)
    assert not found[0].any()
    np.testing.assert_array_equal(found[1:], alone)


def test_embeddings_are_bounded_and_a_singular_row_spoils_no_other() -> None:
    assert np.linalg.norm(bounded_embeddings(_hostile(4)[1]), axis=1).max() <= NORM_BOUND
    known = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    histories = sp.csr_matrix([[2, 0, 2, 0], [0, 0, 0, 2], [0, 2, 0, 0], [0, 0, 2, 2]], dtype="f4")
    solved = fold_in(histories, known, np.zeros((2, 2)))
    np.testing.assert_allclose(solved, [[2, 2], [0, 0], [0, 0], [2 / 3, 2]])
