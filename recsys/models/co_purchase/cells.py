"""The public list of pairs: for each toy, those that the catalogue describes most alike."""

from __future__ import annotations

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

    Args:
        catalogue: public facts; toys without a text are in no pair.
        pairs_per_toy: length of the list per toy.
    """
    features = catalogue_features(catalogue)
    n_items, wanted = catalogue.n_items, catalogue.n_items * pairs_per_toy
    nearest = min(2 * pairs_per_toy, max(0, n_items - 1))
    keys, places, cosines = [], [], []
    by_term = features.T.tocsr()
    for rows in chunks(n_items if features.nnz and nearest else 0, n_items, _CELLS):
        block = (features[rows] @ by_term).toarray()
        block[np.arange(rows.size), rows] = -1.0
        row, other, place = _best(block, nearest)
        keys.append(np.minimum(rows[row], other) * n_items + np.maximum(rows[row], other))
        places.append(place)
        cosines.append(block[row, other])
    if keys:
        key, place, cosine = map(np.concatenate, (keys, places, cosines))
        by_place = np.lexsort((key, place))
        key, unique = np.unique(key[by_place], return_index=True)
        chosen = np.sort(np.argsort(place[by_place][unique], kind="stable")[:wanted])
        key, cosine = key[chosen], cosine[by_place][unique][chosen]
    else:
        key, cosine = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    toys = np.full((wanted, 2), -1, dtype=np.int32)
    similarity = np.zeros(wanted, dtype=np.float32)
    toys[: key.size, 0], toys[: key.size, 1] = np.divmod(key, n_items)
    similarity[: key.size] = np.clip(cosine, 0.0, 1.0)
    return PairCells(toys, similarity, n_items)


def _best(
    block: npt.NDArray[np.float32], nearest: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row, column and place of each row's largest values above 0, at most `nearest` of a row."""
    # Rounded, so that ties between twins break the same way whatever the machine: the lower
    # column wins.
    rounded = np.round(block, 5)
    last = np.partition(rounded, -nearest, axis=1)[:, -nearest, None]
    row, column = np.nonzero((rounded >= last) & (block > 1e-6))
    order = np.lexsort((column, -rounded[row, column], row))
    row, column = row[order], column[order]
    place = np.arange(row.size) - np.searchsorted(row, row)
    kept = place < nearest
    return row[kept], column[kept], place[kept]


def symmetric(cells: PairCells, values: npt.NDArray[np.float64]) -> sp.csr_matrix:
    """Values of the listed pairs as a symmetric matrix, csr float32 [n_items, n_items]."""
    first, second = cells.toys[: cells.n_listed].T
    half = sp.csr_matrix(
        (values[: cells.n_listed].astype(np.float32), (first, second)),
        shape=(cells.n_items, cells.n_items),
    )
    return (half + half.T).tocsr()
