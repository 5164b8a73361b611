"""Fold-in never fails for one shopper alone, whatever the public state was made to be."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.data import Interactions
from recsys.models import SharedEmbeddings
from recsys.models.fold_in import NORM_BOUND, bounded_embeddings, solve_rows
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


def test_embeddings_are_bounded_and_a_singular_row_spoils_no_other() -> None:
    assert np.linalg.norm(bounded_embeddings(_hostile(4)[1]), axis=1).max() <= NORM_BOUND
    systems = np.stack([np.eye(2), np.zeros((2, 2)), 2 * np.eye(2)])
    solved = solve_rows(systems, np.ones((3, 2)))
    np.testing.assert_allclose(solved, [[1, 1], [0, 0], [0.5, 0.5]])
