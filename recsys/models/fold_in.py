"""Least squares of many shoppers at once, which no input can make fail for one of them alone.

An exception that depends on one shopper's purchases would tell of her without any noise: a run that
fails where another does not is a release. So the public side is bounded first, and a system that
cannot be solved gives zeros for its own row and changes nothing for the others.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.privacy.clipping import clip_rows

__all__ = ["NORM_BOUND", "bounded_embeddings", "fold_in"]

Float = npt.NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

NORM_BOUND = 1e3
"""Largest norm of a toy's embedding in a fold-in; what is learned stays far below it."""


def bounded_embeddings(item_embeddings: npt.NDArray[np.floating]) -> Float:
    """Embeddings as float64 [n_items, d] with rows of norm `NORM_BOUND` at most.

    Privacy: touches public embeddings only.
    """
    return clip_rows(np.asarray(item_embeddings, dtype=np.float64), NORM_BOUND)


def fold_in(
    confidences: sp.csr_matrix,
    item_embeddings: npt.NDArray[Real],
    ridge: npt.NDArray[Real],
    threads: int = 1,
) -> npt.NDArray[Real]:
    """Solve the least squares of every row; zeros where there is no finite solution.

        u = (R + sum_h (c_h - 1) v_h v_h')^-1 sum_{h: c_h > 0} c_h v_h,   c_h < 0 stands for -c_h
                                                                          on the left
    Args:
        confidences: c, csr float32 [n_rows, n_items].
        item_embeddings: V, float [n_items, d].
        ridge: R, positive definite, same dtype [d, d]; V'V + lambda I in the paper.
        threads: of the compiled kernel; no effect on the result.

    Returns:
        same dtype [n_rows, d].

    Privacy: each row depends on its own history and the public rest alone, to the last bit; stays
    at the merchant.

    Source: Hu, Koren & Volinsky, ICDM 2008; solved by the compiled kernel of `implicit`.
    """
    shape = (confidences.shape[0], item_embeddings.shape[1])
    vectors = np.zeros(shape, dtype=item_embeddings.dtype)
    starts = confidences.indptr
    cells = confidences.indices, confidences.data
    if not _solve(starts, cells, item_embeddings, ridge, vectors, threads):
        # One of many failed and stopped the rest: each row again, alone.
        for row in range(len(vectors)):
            alone = vectors[row : row + 1]
            if not _solve(starts[row : row + 2], cells, item_embeddings, ridge, alone, 1):
                alone[:] = 0.0
    vectors[~np.isfinite(vectors).all(axis=1)] = 0.0
    return vectors


def _solve(
    starts: npt.NDArray[np.int32],
    cells: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]],
    embeddings: npt.NDArray[Real],
    ridge: npt.NDArray[Real],
    vectors: npt.NDArray[Real],
    threads: int,
) -> bool:
    """Fill `vectors`; False if some row's system is not positive definite."""
    from implicit.cpu import _als

    try:
        _als._least_squares(ridge, starts, *cells, vectors, embeddings, 0.0, num_threads=threads)
    except ValueError:
        return False
    return True
