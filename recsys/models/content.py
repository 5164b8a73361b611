"""Toys like those in the basket, by the words of the public catalogue: nothing is released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.interactions import Interactions
from recsys.models.base import newest_weights
from recsys.models.linear import LinearRecommender, Product

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["ContentSimilarity", "catalogue_features"]

Floats = npt.NDArray[np.float32]

_COMMON, _MOST_COMMON = 0.02, 128
"""Part of the toys that hold a common term, and the most terms that are taken as common."""


class ContentSimilarity(LinearRecommender):
    """Score a toy by the cosine of its catalogue text to the shopper's purchases, newest first.

        s(u, j) = sum_h decay^age(h) * x_h . x_j,   |x_j| = 1

    where x_j stacks TF-IDF blocks of a toy's fields, each of length one times its weight.

    Args:
        decay: weight of a purchase relative to the next newer one, in [0, 1].
        words: weight of the words and word pairs of title and brand.
        category: weight of the levels of the category path.
        brand: weight of the brand as a whole.

    A toy without any text has x_j = 0 and scores 0. `fit` reads only the catalogue.

    Privacy: nothing is learned from shoppers; `score` reads a history and stays at the merchant.
    """

    name: ClassVar[str] = "content"

    def __init__(
        self, decay: float = 0.5, words: float = 1.0, category: float = 0.5, brand: float = 0.5
    ) -> None:
        self.decay = decay
        self.words = words
        self.category = category
        self.brand = brand
        self._common: Floats = np.empty((0, 0), dtype=np.float32)
        self._rare: sp.csr_matrix = sp.csr_matrix((0, 0), dtype=np.float32)
        self._by_rare_term: sp.csr_matrix = self._rare

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Read the catalogue; the purchases are not looked at."""
        return self._take(
            catalogue_features(
                catalogue, words=self.words, category=self.category, brand=self.brand
            )
        )

    def product(self, histories: Interactions) -> Product:
        """The similarity of every toy to every history, by common and by rare terms."""
        self.check_histories(histories)
        weights = histories.recency_csr(self.decay)
        return Product(
            dense=(np.asarray(weights @ self._common), self._common),
            sparse=(weights @ self._rare, self._by_rare_term),
        )

    def contributions(
        self, histories: Interactions, items: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return decay^age(h) * x_h . x_j for each purchase h and asked toy j."""
        history = histories.history(0)
        weights = newest_weights(history, self.decay)
        cosines = (self._rare[history] @ self._rare[items].T).toarray()
        cosines += self._common[history] @ self._common[items].T
        return np.asarray(weights[:, None] * cosines, dtype=np.float32)

    def settings(self) -> dict[str, Any]:
        """Return decay and field weights."""
        return {
            "decay": self.decay,
            "words": self.words,
            "category": self.category,
            "brand": self.brand,
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return nothing: the features are rebuilt from the catalogue."""
        return {}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Rebuild the features from the catalogue."""
        return self.fit(Interactions.from_lists([], catalogue.n_items), catalogue)

    def _take(self, features: sp.csr_matrix) -> Self:
        # A sparse product costs as much as a term is frequent, a dense one always the same but far
        # less a number: terms that many toys share are cheaper dense.
        frequency = features.getnnz(axis=0)
        commonest = np.argsort(-frequency, kind="stable")[:_MOST_COMMON]
        common = np.zeros(features.shape[1], dtype=bool)
        common[commonest] = frequency[commonest] > _COMMON * features.shape[0]
        self._common = features[:, common].toarray()
        self._rare = features[:, ~common]
        self._by_rare_term = self._rare.T.tocsr()
        self._n_items = features.shape[0]
        return self


def catalogue_features(
    catalogue: Catalogue, words: float = 1.0, category: float = 0.5, brand: float = 0.5
) -> sp.csr_matrix:
    """Return unit-length TF-IDF rows of the toys' texts: csr float32 [n_items, n_terms].

    Args:
        catalogue: public facts; blank or missing fields give no terms.
        words, category, brand: weights of the blocks, see `ContentSimilarity`.
    """
    frame = catalogue.frame
    titles, paths, brands = (
        frame[name].fillna("").astype(str).tolist() for name in ("title", "category_path", "brand")
    )
    texts = [f"{title} {maker}" for title, maker in zip(titles, brands, strict=True)]
    blocks = [
        weight * _tfidf(values, analyzer)
        for weight, values, analyzer in (
            (words, texts, None),
            (category, paths, _levels),
            (brand, brands, _whole),
        )
        if weight > 0
    ]
    if not blocks:
        return sp.csr_matrix((catalogue.n_items, 0), dtype=np.float32)
    features = sp.hstack(blocks, format="csr")
    lengths = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return (sp.diags(inverse) @ features).tocsr().astype(np.float32)


def _tfidf(values: list[str], analyzer: Callable[[str], list[str]] | None) -> sp.csr_matrix:
    """Return unit-length TF-IDF rows, or an empty block where no text holds a term."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Titles repeat a word for emphasis, not for meaning, hence binary term counts.
    kind: dict[str, Any] = {"analyzer": analyzer} if analyzer else {"ngram_range": (1, 2)}
    vectorizer = TfidfVectorizer(binary=True, dtype=np.float32, **kind)
    analyze = vectorizer.build_analyzer()
    if not any(analyze(value) for value in values):
        return sp.csr_matrix((len(values), 0), dtype=np.float32)
    return vectorizer.fit_transform(values).tocsr()


def _levels(path: str) -> list[str]:
    return [level.strip().lower() for level in path.split(">") if level.strip()]


def _whole(brand: str) -> list[str]:
    return [brand.strip().lower()] if brand.strip() else []
