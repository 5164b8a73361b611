"""Least squares of many shoppers at once, which no input can make fail for one of them alone.

An exception that depends on one shopper's purchases would tell of her without any noise: a run that
fails where another does not is a release. So the public side is bounded first, and a system that
cannot be solved gives zeros for its own row and changes nothing for the others.

For the same reason no row may depend on which others stand beside it, not even in the last bits: an
ill-conditioned public side could make much of them. Rows are grouped by exact length, so that each
is computed by the same operations whoever else is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.privacy.clipping import clip_rows

__all__ = ["MOST_FACTORS", "NORM_BOUND", "FoldIn", "bounded_embeddings"]

Float = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

NORM_BOUND = 1e3
"""Largest norm of a toy's embedding in a fold-in; what is learned stays far below it."""

MOST_FACTORS = 512
"""Largest width of shared embeddings. Every merchant solves systems of this size, in cubic time."""

_CELLS = 1 << 17
_FLATTEST = 1e-13


def bounded_embeddings(item_embeddings: npt.NDArray[np.floating]) -> Float:
    """Embeddings as float64 [n_items, d] with rows of norm `NORM_BOUND` at most.

    Privacy: touches public embeddings only.
    """
    return clip_rows(np.asarray(item_embeddings, dtype=np.float64), NORM_BOUND)


class FoldIn:
    """Solves the least squares of shoppers over one set of toys.

        u = (R + sum_h (w_h + e) v_h v_h')^-1 sum_h w_h v_h

    In coordinates where R is the identity, toys are W = V R^-1/2. A shopper with toys W_u [n, d],
    weights w and D = diag(w + e) is solved by n equations or by d, whichever are fewer:

        u = R^-1/2 W_u' (I + D W_u W_u')^-1 w = R^-1/2 (I + W_u' D W_u)^-1 W_u' w

    Args:
        item_embeddings: V, float [n_items, d]; finite.
        ridge: R, positive definite [d, d]. Directions that it hardly holds are held a little.
        offset: e, more than -2; -1 for confidences w, of which the left side has w - 1.

    Source: Hu, Koren & Volinsky, ICDM 2008.
    """

    def __init__(
        self,
        item_embeddings: npt.NDArray[np.floating],
        ridge: npt.NDArray[np.floating],
        offset: float = 0.0,
    ) -> None:
        values, directions = np.linalg.eigh(np.asarray(ridge, dtype=np.float64))
        held = np.maximum(values, _FLATTEST * np.abs(values).max())
        self._back: Float = directions / np.sqrt(held)
        self._toys: Float = np.asarray(item_embeddings, dtype=np.float64) @ self._back
        self._offset = offset

    def vectors(self, weights: sp.csr_matrix, threads: int = 1) -> Float:
        """Solve every row; zeros where there is no finite solution, and for empty rows.

        Args:
            weights: w, csr float32 [n_rows, n_items], above 0.
            threads: no effect on the result.

        Returns:
            float64 [n_rows, d].

        Privacy: each row depends on its own history and the public rest alone, to the last bit;
        stays at the merchant.
        """
        solved = np.zeros((weights.shape[0], self._toys.shape[1]))

        def solve(rows: Rows) -> None:
            # What overflows becomes a row of zeros; a warning would tell that somebody's did.
            with np.errstate(over="ignore", invalid="ignore"):
                solved[rows] = self._solve(weights, rows)

        blocks = _blocks_of_one_length(np.diff(weights.indptr), self._toys.shape[1])
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(solve, blocks))
        else:
            for rows in blocks:
                solve(rows)
        return solved

    def _solve(self, weights: sp.csr_matrix, rows: Rows) -> Float:
        """Rows of one and the same length."""
        start, end = weights.indptr[rows[0]], weights.indptr[rows[0] + 1]
        if (end - start) * self._toys.shape[1] > _CELLS and end - start > self._toys.shape[1]:
            return self._finite(self._solve_long(weights, int(start), int(end)))
        cells = weights.indptr[rows][:, None] + np.arange(end - start)
        toys = np.take(self._toys, weights.indices[cells], axis=0)
        across = toys.swapaxes(1, 2)
        right = weights.data[cells].astype(np.float64)[:, :, None]
        left = right + self._offset
        if toys.shape[1] <= toys.shape[2]:
            found = np.matmul(across, _solve_each(left * np.matmul(toys, across), right))
        else:
            found = _solve_each(np.matmul(across, left * toys), np.matmul(across, right))
        return self._finite(found)

    def _solve_long(self, weights: sp.csr_matrix, start: int, end: int) -> Float:
        """One long row, piece by piece: no shopper's length shows in the memory that is used."""
        size = self._toys.shape[1]
        system, right = np.zeros((size, size)), np.zeros((size, 1))
        step = max(1, _CELLS // size)
        for first in range(start, end, step):
            piece = slice(first, min(first + step, end))
            toys = self._toys[weights.indices[piece]]
            weight = weights.data[piece].astype(np.float64)[:, None]
            system += toys.T @ ((weight + self._offset) * toys)
            right += toys.T @ weight
        return _solve_each(system[None], right[None])

    def _finite(self, found: Float) -> Float:
        """Solutions [n, d, 1] in the coordinates of the embeddings; zeros where none is finite."""
        vectors = np.matmul(found.swapaxes(1, 2), self._back.T)[:, 0, :]
        finite = np.isfinite(vectors).all(axis=1, keepdims=True)
        return np.asarray(np.where(finite, vectors, 0.0))


def _blocks_of_one_length(lengths: npt.NDArray[np.integer], size: int) -> Iterator[Rows]:
    """Rows with toys, in blocks of one length that a processor's cache can hold."""
    rows = np.argsort(lengths, kind="stable")
    limits = np.flatnonzero(np.diff(lengths[rows], prepend=0, append=np.iinfo(np.int64).max))
    for first, last in pairwise(limits):
        n = int(lengths[rows[first]])
        step = max(1, _CELLS // (n * size + min(n, size) ** 2))
        for start in range(first, last, step):
            yield rows[start : min(start + step, last)]


def _solve_each(products: Float, right: Float) -> Float:
    """Solve (I + products[i]) x = right[i] for every i; zeros where that is singular."""
    diagonal = np.arange(products.shape[1])
    products[:, diagonal, diagonal] += 1.0
    try:
        return np.asarray(np.linalg.solve(products, right))
    except np.linalg.LinAlgError:
        return np.stack([_solve_one(one, b) for one, b in zip(products, right, strict=True)])


def _solve_one(system: Float, right: Float) -> Float:
    try:
        return np.asarray(np.linalg.solve(system, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.zeros_like(right)
