"""A map of toys: what a shared model has learned of them, laid out in two dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from datasites.errors import SettingsError
from recsys.artifact import load_model
from recsys.data import Catalogue
from recsys.errors import ToyFedError

__all__ = ["MOST_TOYS", "shared_vectors", "toy_map"]

MOST_TOYS = 2000
"""Toys drawn: laying out more takes minutes. Those that were bought most, by noised counts."""
_TELLING = 12


def shared_vectors(
    artefact: Path, catalogue: Catalogue
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], str]:
    """Vectors of toys, which toys they are of, and what the vectors are.

    A model without embeddings is shown by the words of the catalogue instead, and says so.

    Returns: float32 [n, d], catalogue indices int64 [n], a sentence.
    Raises: SettingsError if the model cannot be read or is about another catalogue.
    Privacy: post-processing of what was released, free.
    """
    try:
        model = load_model(artefact)
    except (ToyFedError, OSError) as error:
        raise SettingsError(f"the shared model cannot be read: {error}") from None
    if model.catalogue_digest != catalogue.digest:
        raise SettingsError(
            "expected a model of this catalogue, found one of another. Look at the newest study."
        )
    counts = model.arrays.get("item_counts", np.zeros(catalogue.n_items, np.float32))
    items = np.sort(np.argsort(-counts, kind="stable")[:MOST_TOYS]).astype(np.int64)
    found = model.arrays.get("item_embeddings")
    if found is not None and found.ndim == 2:
        return found[items].astype(np.float32), items, "Near toys are bought by the same shoppers."
    return (
        _words(catalogue, items),
        items,
        "This recipe learns no embeddings: near toys have like words in the catalogue.",
    )


def toy_map(
    vectors: npt.NDArray[np.float32], items: npt.NDArray[np.int64], catalogue: Catalogue
) -> pd.DataFrame:
    """Columns item, x, y, title, category, brand, price; one row per toy.

    Vectors are scaled to length one, so that the map shows taste and not popularity, and laid out
    by t-SNE (van der Maaten & Hinton 2008), the same way each time.
    """
    wide = np.nan_to_num(vectors.astype(np.float64))
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = wide / np.where(lengths > 0, lengths, 1)
    # Vectors that are equal make scikit-learn's layout crash the whole process.
    unit += np.random.default_rng(0).normal(0, 1e-3, unit.shape)
    if len(unit) > 3:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(unit) - 1) / 3)
        start = "pca" if min(unit.shape) >= 2 else "random"
        places = TSNE(
            2, perplexity=perplexity, init=start, random_state=0, metric="cosine", max_iter=500
        ).fit_transform(unit)
    else:
        places = np.stack([np.arange(len(unit)), np.zeros(len(unit))], axis=1)
    frame = catalogue.frame.iloc[items]
    return pd.DataFrame(
        {
            "item": items,
            "x": places[:, 0],
            "y": places[:, 1],
            "title": frame["title"].to_numpy(),
            "category": _largest(_telling_names(catalogue)[items]),
            "brand": frame["brand"].to_numpy(),
            "price": frame["price"].to_numpy(),
        }
    )


def _telling_names(catalogue: Catalogue) -> npt.NDArray[np.object_]:
    from ui.web.views.filters import telling_level

    level = telling_level(catalogue)
    names = catalogue.categories(level) if level else [""] * catalogue.n_items
    return np.array([name.split(" > ")[-1] or "other" for name in names], dtype=object)


def _largest(names: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """The largest categories by name, the rest as one: more colours cannot be told apart."""
    kinds, counts = np.unique(names.astype(str), return_counts=True)
    kept = set(kinds[np.argsort(-counts)[:_TELLING]])
    return np.array([name if name in kept else "other" for name in names], dtype=object)


def _words(catalogue: Catalogue, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    text = [catalogue.text()[item] for item in items]
    table = TfidfVectorizer(sublinear_tf=True).fit_transform(text)
    size = max(1, min(32, min(table.shape) - 1))
    found: npt.NDArray[np.float32] = TruncatedSVD(size, random_state=0).fit_transform(table)
    return found.astype(np.float32)
