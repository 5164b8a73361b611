"""The public list of pairs: for each toy, those that the catalogue describes most alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.catalogue import Catalogue
from recsys.errors import ModelError
from recsys.models.base import chunks
from recsys.models.content import catalogue_features

__all__ = ["PairCells", "pair_cells"]

_CELLS = 1 << 23  # cosines held at once: 32 MB, whatever the catalogue
_STEPS = 1 << 22  # products of terms added up at once where a catalogue is large

COMPARED = 20_000
"""Toys of a catalogue that are each compared with all others; in larger ones each is compared with
about as many, so that the time grows with the toys and not with their square."""

_FINE = 100_000  # cosines are compared in steps of 1 / _FINE


@dataclass(frozen=True, eq=False)
class PairCells:
    """Unordered pairs of different toys, and how alike the catalogue describes them.

    Args:
        toys: int32 [n_cells, 2], lower index first, sorted; rows of -1 at the end fill up the
            list of a small catalogue and count nothing.
        similarity: float32 [n_cells], cosine of the catalogue's texts in [0, 1].
        n_items: toys in the catalogue.

    Raises:
        ModelError: another shape, a similarity outside [0, 1], a toy outside the catalogue, or a
            pair listed twice (whose count would change by more than one shopper is allowed to
            change it).

    Privacy: public; made of the catalogue alone.
    """

    toys: npt.NDArray[np.int32]
    similarity: npt.NDArray[np.float32]
    n_items: int

    def __post_init__(self) -> None:
        if self.toys.ndim != 2 or self.toys.shape[1] != 2 or self.toys.dtype != np.int32:
            raise ModelError(
                f"Expected pairs as int32 [n, 2], found {self.toys.dtype} {self.toys.shape}."
            )
        inside = (self.similarity >= 0) & (self.similarity <= 1)
        if self.similarity.shape != self.toys.shape[:1] or not inside.all():
            raise ModelError("Expected one similarity from 0 to 1 for each pair, found others.")
        listed = self.toys[: self.n_listed].astype(np.int64)
        first, second = listed[:, 0], listed[:, 1]
        inside = (first >= 0) & (second < self.n_items) & (first < second)
        if not inside.all() or (np.diff(self.keys) <= 0).any():
            raise ModelError(
                f"Expected different pairs of toys below {self.n_items}, lower index first and "
                "sorted, found others. Make the list with pair_cells."
            )

    @property
    def n_cells(self) -> int:
        """Length of the list, padding included."""
        return len(self.toys)

    @property
    def n_listed(self) -> int:
        """Pairs on the list, without padding."""
        return len(self.toys) - int((self.toys == -1).all(axis=1).sum())

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """int64 [n_listed], rising; one number for each pair."""
        listed = self.toys[: self.n_listed].astype(np.int64)
        return np.asarray(listed[:, 0] * self.n_items + listed[:, 1])


def pair_cells(catalogue: Catalogue, pairs_per_toy: int) -> PairCells:
    """List n_items * pairs_per_toy pairs: first every toy's nearest, then the second nearest, ...

    Up to `COMPARED` toys these are the nearest of all. In a larger catalogue neighbours are looked
    for by the rarest terms, as many as leave a toy about `COMPARED` others to look at; toys that
    share none of these, but the commonest words alone, are not found to be alike.

    Args:
        catalogue: public facts; toys without a text are in no pair.
        pairs_per_toy: length of the list per toy.
    """
    features = catalogue_features(catalogue)
    n_items, wanted = catalogue.n_items, catalogue.n_items * pairs_per_toy
    nearest = min(2 * pairs_per_toy, max(0, n_items - 1))
    key, place = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if features.nnz and nearest:
        found = _by_rare_terms if n_items > COMPARED else _among_all
        blocks = list(found(features, nearest))
        toy, other, place = (np.concatenate(part) for part in zip(*blocks, strict=True))
        key = np.minimum(toy, other) * n_items + np.maximum(toy, other)
        by_place = np.lexsort((key, place))
        key, unique = np.unique(key[by_place], return_index=True)
        chosen = np.sort(np.argsort(place[by_place][unique], kind="stable")[:wanted])
        key = key[chosen]
    toys = np.full((wanted, 2), -1, dtype=np.int32)
    similarity = np.zeros(wanted, dtype=np.float32)
    toys[: key.size, 0], toys[: key.size, 1] = np.divmod(key, n_items)
    similarity[: key.size] = _cosines(features, toys[: key.size])
    return PairCells(toys, similarity, n_items)


Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Toys, a near one of each, and the place of that one among the toy's nearest, 0 for the first."""


def _among_all(features: sp.csr_matrix, nearest: int) -> Iterator[Found]:
    by_term = features.T.tocsr()
    for rows in chunks(features.shape[0], features.shape[0], _CELLS):
        block = (features[rows] @ by_term).toarray()
        block[np.arange(rows.size), rows] = -1.0
        # The least that the nearest reach: a partition is much cheaper than sorting all.
        rounded = np.round(block * _FINE)
        last = np.partition(rounded, -nearest, axis=1)[:, -nearest, None]
        row, other = np.nonzero((rounded >= last) & (block > 1e-6))
        row, other, place = _best(row, other, block[row, other], nearest, features.shape[0])
        yield rows[row], other, place


def _by_rare_terms(features: sp.csr_matrix, nearest: int) -> Iterator[Found]:
    n_items = features.shape[0]
    frequency = features.getnnz(axis=0).astype(np.int64)
    rarest = np.argsort(frequency, kind="stable")
    work = np.cumsum(frequency[rarest] ** 2)
    rare = features[:, np.sort(rarest[work <= COMPARED * n_items])].tocsr()
    by_term = rare.T.tocsr()
    steps = sp.csr_matrix((np.ones(rare.nnz), rare.indices, rare.indptr), rare.shape)
    steps = np.cumsum(steps @ rare.getnnz(axis=0).astype(np.float64))
    first = 0
    while first < n_items:
        before = steps[first - 1] if first else 0.0
        last = max(first + 1, int(np.searchsorted(steps, before + _STEPS, side="right")))
        near = (rare[first:last] @ by_term).tocoo()
        others = near.row + first != near.col
        row, other, value = near.row[others], near.col[others], near.data[others]
        row, other, _ = _best(row, other, value, 2 * nearest, n_items)
        # All terms count for those that are left.
        value = _cosines(features, np.column_stack([row + first, other]))
        row, other, place = _best(row, other, value, nearest, n_items)
        yield row + first, other, place
        first = last


def _best(
    row: npt.NDArray[np.integer],
    column: npt.NDArray[np.integer],
    cosine: npt.NDArray[np.float32],
    nearest: int,
    n_items: int,
) -> Found:
    """Row, column and place of each row's largest cosines, at most `nearest` of a row.

    Cosines are rounded, so that ties between twins break the same way whatever the machine: the
    lower column wins.
    """
    away = _FINE - np.clip(np.rint(cosine * np.float32(_FINE)), 0, _FINE).astype(np.int64)
    # One number that sorts by row, then by cosine, then by column; far from 2^63.
    key = np.sort((row.astype(np.int64) * (_FINE + 1) + away) * n_items + column)
    row = key // ((_FINE + 1) * n_items)
    place = np.arange(key.size) - np.searchsorted(row, row)
    kept = place < nearest
    return row[kept].astype(np.int64), key[kept] % n_items, place[kept].astype(np.int64)


def _cosines(features: sp.csr_matrix, pairs: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Of each pair of toys, float32 [n_pairs] from 0 to 1."""
    cosines = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _STEPS // 16):
        some = slice(start, start + _STEPS // 16)
        first, second = features[pairs[some, 0]], features[pairs[some, 1]]
        cosines[some] = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return np.clip(cosines, 0.0, 1.0)


def symmetric(cells: PairCells, values: npt.NDArray[np.float64]) -> sp.csr_matrix:
    """Values of the listed pairs as a symmetric matrix, csr float32 [n_items, n_items]."""
    first, second = cells.toys[: cells.n_listed].T
    half = sp.csr_matrix(
        (values[: cells.n_listed].astype(np.float32), (first, second)),
        shape=(cells.n_items, cells.n_items),
    )
    return (half + half.T).tocsr()
