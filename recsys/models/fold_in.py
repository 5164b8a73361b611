"""Least squares of many shoppers at once, which no input can make fail for one of them alone.

An exception that depends on one shopper's purchases would tell of her without any noise: a run that
fails where another does not is a release. So the public side is bounded first, and a system that
cannot be solved gives zeros for its own row and changes nothing for the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.privacy.clipping import clip_rows

__all__ = ["NORM_BOUND", "bounded_embeddings", "solve_rows"]

Float = npt.NDArray[np.float64]

NORM_BOUND = 1e3
"""Largest norm of a toy's embedding in a fold-in; what is learned stays far below it."""


def bounded_embeddings(item_embeddings: npt.NDArray[np.floating]) -> Float:
    """Embeddings as float64 [n_items, d] with rows of norm `NORM_BOUND` at most.

    Privacy: touches public embeddings only.
    """
    return clip_rows(np.asarray(item_embeddings, dtype=np.float64), NORM_BOUND)


def solve_rows(systems: Float, right: Float) -> Float:
    """Solve systems[i] x = right[i] for every row; zeros where there is no finite solution.

    Args:
        systems: float64 [n, d, d].
        right: float64 [n, d].

    Returns:
        float64 [n, d].

    Privacy: each row depends on its own system alone; stays at the merchant.
    """
    try:
        solved = np.linalg.solve(systems, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        solved = np.stack([_solve_one(one, b) for one, b in zip(systems, right, strict=True)])
    finite = np.isfinite(solved).all(axis=1, keepdims=True)
    kept: Float = np.where(finite, solved, 0.0)
    return kept


def _solve_one(system: Float, right: Float) -> Float:
    try:
        return np.asarray(np.linalg.solve(system, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.zeros_like(right)
