"""What the towers know of a toy: public facts as numbers, the same at every merchant.

Nothing here is drawn at random by chance or depends on a shopper. Two machines may differ in the
last bits, which is harmless: merchants share weights, never features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.models.content import catalogue_features

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["BLOCKS", "ToyFeatures", "toy_features"]

Float = npt.NDArray[np.float64]

BLOCKS = ("text", "category", "brand", "price", "age")
"""Ways in which two toys can be alike, each a block of unit-length (or zero) rows."""

_PRICE_STEPS = 6
_AGE_STEPS = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 12.0, 16.0)
_TERM_COPIES = 4
_PROJECTION_SEED = 20_170_410  # public and fixed: all merchants project alike


@dataclass(frozen=True, eq=False, repr=False)
class ToyFeatures:
    """Public features of all toys.

    Args:
        blocks: of `BLOCKS`, csr float64 [n_items, *], rows of length 1 or 0.
        dense: float64 [n_items, F], what the item tower reads; rows of length 1 or 0.
    """

    blocks: tuple[sp.csr_matrix, ...]
    dense: Float

    @property
    def n_items(self) -> int:
        """Number of toys."""
        return len(self.dense)


def toy_features(catalogue: Catalogue, size: int) -> ToyFeatures:
    """Turn the catalogue into features; what is missing, constant or absurd becomes 0.

    Args:
        catalogue: public facts.
        size: F, dimensions of the dense part: a sparse random projection of words, categories
            and brands (Achlioptas, JCSS 2003), beside price and age.
    """
    text = catalogue_features(catalogue).astype(np.float64)
    category = catalogue_features(catalogue, words=0, category=1, brand=0).astype(np.float64)
    brand = catalogue_features(catalogue, words=0, category=0, brand=1).astype(np.float64)
    prices = _price_rows(catalogue.frame["price"].to_numpy(dtype=np.float64))
    ages = _age_rows(
        catalogue.frame["age_from"].to_numpy(dtype=np.float64),
        catalogue.frame["age_to"].to_numpy(dtype=np.float64),
    )
    words = sp.hstack([text, category], format="csr")
    room = size - prices.shape[1] - ages.shape[1]
    if room > 0:
        parts = [_projected(words, room), 0.5 * prices, 0.5 * ages]
    else:
        parts = [_projected(words, size)]
    blocks = (text, category, brand, sp.csr_matrix(prices), sp.csr_matrix(ages))
    return ToyFeatures(blocks, _unit_rows(np.hstack(parts)))


def _projected(rows: sp.csr_matrix, size: int) -> Float:
    """Fixed sparse signs for each term: similar rows stay similar."""
    rng = np.random.default_rng(_PROJECTION_SEED)
    n_terms = rows.shape[1]
    columns = rng.integers(0, size, (n_terms, _TERM_COPIES))
    signs = rng.choice((-1.0, 1.0), (n_terms, _TERM_COPIES))
    signs_of = sp.csr_matrix(
        (signs.ravel(), columns.ravel(), np.arange(n_terms + 1) * _TERM_COPIES),
        shape=(n_terms, size),
    )
    return _unit_rows((rows @ signs_of).toarray())


def _price_rows(prices: Float) -> Float:
    """Nearness to evenly spaced ranks of price, so that no unit or outlier matters."""
    rows = np.zeros((len(prices), _PRICE_STEPS))
    known = np.isfinite(prices) & (prices > 0)
    levels, inverse = np.unique(prices[known], return_inverse=True)
    if len(levels) > 1:
        counts = np.bincount(inverse)
        middle = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
        places = middle[inverse] * (_PRICE_STEPS - 1)
        rows[known] = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(_PRICE_STEPS)))
    return _unit_rows(rows)


def _age_rows(first: Float, last: Float) -> Float:
    """Which steps of childhood a toy is for; one bound alone is taken as it is."""
    steps = np.array(_AGE_STEPS)
    low = np.where(np.isfinite(first), first, 0.0)
    high = np.where(np.isfinite(last), last, steps[-1])
    ends = np.append(steps[1:], np.inf)
    rows = ((steps <= high[:, None]) & (ends > low[:, None])).astype(np.float64)
    rows[~np.isfinite(first) & ~np.isfinite(last)] = 0.0
    if len(rows) and (rows == rows[0]).all():
        rows[:] = 0.0
    return _unit_rows(rows)


def _unit_rows(rows: Float) -> Float:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-12)
    return unit
