"""Shared embeddings: fold-in by the formula, and the manners of a recommender."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.embeddings import SharedEmbeddings


def embeddings(n_items: int = 7, size: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_items, size)).astype(np.float32)


@given(
    st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=5),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.5, 1.0]),
)
def test_scores_are_the_formula(histories: list[list[int]], alpha: float, decay: float) -> None:
    known = embeddings()
    model = SharedEmbeddings(known, alpha=alpha, regularization=0.7, decay=decay)
    scores = model.score(Interactions.from_lists(histories, 7))
    assert scores.shape == (len(histories), 7)
    assert scores.dtype == np.float32
    for row, history in enumerate(histories):
        weights = np.zeros(7)
        for age, toy in enumerate(reversed(history)):
            weights[toy] = max(weights[toy], decay**age)
        left = alpha * known.T @ known + 0.7 * np.eye(3) + (known.T * weights) @ known
        u = np.linalg.solve(left.astype(float), known.T.astype(float) @ weights)
        assert scores[row] == pytest.approx(known @ u, rel=1e-4, abs=1e-5)


def test_a_given_gram_is_used() -> None:
    known, history = embeddings(), Interactions.from_lists([[1, 2]], 7)
    plain = SharedEmbeddings(known, alpha=0.5).score(history)
    same = SharedEmbeddings(known, gram=(known.T @ known).astype(float), alpha=0.5).score(history)
    other = SharedEmbeddings(known, gram=9 * np.eye(3), alpha=0.5).score(history)
    assert same == pytest.approx(plain, rel=1e-5)
    assert not np.allclose(other, plain)


def test_shoppers_do_not_influence_each_other() -> None:
    rng = np.random.default_rng(1)
    many = Interactions.from_lists([rng.integers(0, 7, 4) for _ in range(9000)], 7)
    model = SharedEmbeddings(embeddings())
    together = model.score(many)
    assert model.score(many.rows([8999, 3])) == pytest.approx(together[[8999, 3]], rel=1e-5)


def test_it_recommends_unseen_toys_and_similar_ones() -> None:
    known = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], dtype=np.float32)
    model = SharedEmbeddings(known)
    (best,) = model.recommend(Interactions.from_lists([[0]], 4), n=10).ids
    assert best[0] == 1
    assert set(best) == {1, 2, 3}
    assert model.similar_items(2, 1)[0].tolist() == [3]


@pytest.mark.parametrize(
    "arguments",
    [
        {"item_embeddings": np.ones(3)},
        {"item_embeddings": np.full((2, 2), np.nan)},
        {"item_embeddings": np.ones((2, 2)), "gram": np.ones((3, 3))},
        {"item_embeddings": np.ones((2, 2)), "alpha": -1.0},
        {"item_embeddings": np.ones((2, 2)), "regularization": 0.0},
        {"item_embeddings": np.ones((2, 2)), "decay": 0.0},
        {"item_embeddings": np.ones((2, 513))},
    ],
)
def test_what_cannot_serve_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="Expected"):
        SharedEmbeddings(**arguments)


def test_histories_of_another_catalogue_are_refused() -> None:
    with pytest.raises(ModelError, match="over 7 toys"):
        SharedEmbeddings(embeddings()).score(Interactions.from_lists([[0]], 8))
