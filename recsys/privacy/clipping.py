"""Bounds on what one shopper can add to a sum; without them no noise is enough."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.privacy._validate import require_count, require_positive

__all__ = ["clip_rows", "keep_at_most"]

# Clipping to a hair below the bound keeps the norm under it whatever the last bits do.
_HAIR = 1.0 - 2.0**-40
_LEAST_SQUARE, _MOST_SQUARE = 1e-200, 1e200
"""Between these, a square and its root are exact to the last bits; beyond, they may vanish."""


def clip_rows(rows: npt.NDArray[np.float64], bound: float) -> npt.NDArray[np.float64]:
    """Scale each row to an L2 norm of at most `bound`: x * min(1, bound / |x|).

    Args:
        rows: float64 [n, d], one row a shopper.
        bound: the largest norm that is left.

    Returns:
        float64 [n, d]; rows that are not finite become 0, so that no input breaks the bound.

    Privacy: stays at the merchant; it bounds the L2 sensitivity of a sum over rows, when one
    shopper is added or removed, by `bound`.
    """
    require_positive("bound", bound)
    rows = np.asarray(rows, dtype=np.float64)  # in float32 a norm could end above the bound
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", rows, rows)
    norms = np.sqrt(squares)
    unsure = np.flatnonzero(~((squares > _LEAST_SQUARE) & (squares < _MOST_SQUARE)))
    if unsure.size:
        rows = rows.copy()
        rows[unsure], norms[unsure] = _careful(rows[unsure])
    scale = np.divide(bound * _HAIR, norms, out=np.ones_like(norms), where=norms > bound * _HAIR)
    clipped: npt.NDArray[np.float64] = rows * scale[:, None]
    return clipped


def _careful(
    rows: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rows, 0 where they are not finite, and norms, whose squares are beyond floating point."""
    finite = np.isfinite(rows).all(axis=1, keepdims=True)
    rows = np.where(finite, rows, 0.0)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    # Norms of rows scaled by their largest entry neither overflow nor vanish.
    unit = rows / np.where(largest > 0, largest, 1.0)[:, None]
    with np.errstate(over="ignore"):  # an endless norm scales its row to 0
        return rows, np.linalg.norm(unit, axis=1) * largest


def keep_at_most(bought: csr_matrix, bound: int, keys: npt.NDArray[np.float64]) -> csr_matrix:
    """Keep at most `bound` items of each shopper: those with the smallest keys.

    Args:
        bought: binary [n_shoppers, n_items], no duplicates.
        bound: the most items that a shopper keeps.
        keys: float64 [bought.nnz], independent uniform draws, secret at the merchant. They must
            not come from a public seed: removing a shopper would then shift the choice of others.

    Privacy: stays at the merchant; it bounds the L2 sensitivity of the item counts, when one
    shopper is added or removed, by sqrt(bound).
    """
    require_count("bound", bound)
    rows = np.repeat(np.arange(bought.shape[0]), np.diff(bought.indptr))
    order = np.lexsort((keys, rows))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - bought.indptr[rows[order]]
    kept = rank < bound
    indptr = np.concatenate([[0], np.cumsum(kept)])[bought.indptr]
    return csr_matrix((bought.data[kept], bought.indices[kept], indptr), shape=bought.shape)
