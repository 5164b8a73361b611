"""The exact best of many scores: of one row, and of many rows at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["best_of_rows", "top_n"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[np.intp]

_SLABS = 16
_MOST_TIES = 4


def top_n(scores: Floats, n: int) -> Ids:
    """Return the indices of the `n` highest scores, best first, ties by lower index.

    Args:
        scores: [n_items]; -inf and NaN mark toys that may not be shown.
        n: length of the list; it is short when fewer toys may be shown.
    """
    shown = np.flatnonzero(scores > -np.inf)
    if n < shown.size:
        values = scores[shown]
        if n <= 0:
            return np.empty(0, dtype=np.int32)
        threshold = np.partition(values, values.size - n)[values.size - n]
        above = shown[values > threshold]
        level = shown[values == threshold][: n - above.size]
        shown = np.concatenate([above, level])
    order = np.lexsort((shown, -scores[shown]))
    return shown[order].astype(np.int32)


def best_of_rows(scores: Floats, n: int) -> tuple[list[Ids], list[Floats]]:
    """Return `top_n` of every row and the scores found there, much faster than row by row.

    The columns are cut into slabs, which are laid on top of each other: at least n scores of a
    row reach the n-th best of the maxima, so that only the few that do need sorting.

    Args:
        scores: float32 [n_rows, n_items]; -inf and NaN mark toys that may not be shown.
        n: length of the lists.
    """
    n_rows, n_items = scores.shape
    width = max(n, -(-n_items // _SLABS))
    if not 0 < n < width < n_items:
        return _row_by_row(scores, n)
    maxima = scores[:, :width].copy()
    for start in range(width, n_items, width):
        slab = scores[:, start : start + width]
        np.fmax(maxima[:, : slab.shape[1]], slab, out=maxima[:, : slab.shape[1]])
    np.nan_to_num(maxima, copy=False, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    reached = np.partition(maxima, width - n, axis=1)[:, width - n, None]
    cells, counts = _few(scores, n, reached)
    plain = (counts <= _MOST_TIES * n) & (reached[:, 0] > -np.inf)
    cells = cells[np.repeat(plain, counts)]
    ids: list[Ids] = [np.empty(0, dtype=np.int32)] * n_rows
    values: list[Floats] = [np.empty(0, dtype=np.float32)] * n_rows
    for row in np.flatnonzero(~plain):
        ids[row] = top_n(scores[row], n)
        values[row] = scores[row][ids[row]]
    rows = np.flatnonzero(plain)
    if rows.size:
        _sort(scores, cells, rows, counts[rows], n, ids, values)
    return ids, values


def _few(scores: Floats, n: int, reached: Floats) -> tuple[Cells, Cells]:
    """Flat places of what reaches the bound of its row, and of long ties at the bound only the
    first; and how many of them each row has."""
    marked = scores >= reached
    cells, counts = _marked_cells(marked)
    crowded = np.flatnonzero(counts > _MOST_TIES * n)
    if crowded.size:
        bound, head = reached[crowded], 2 * _MOST_TIES * n
        above = scores[crowded] > bound
        level = scores[crowded, :head] == bound
        missing = n - np.count_nonzero(above, axis=1)
        place = np.cumsum(level, axis=1)
        enough = place[:, -1] >= missing
        above[:, :head] |= level & (place <= missing[:, None])
        marked[crowded[enough]] = above[enough]
        cells, counts = _marked_cells(marked)
    return cells, counts


def _marked_cells(marked: npt.NDArray[np.bool_]) -> tuple[Cells, Cells]:
    # Counting row by row (`count_nonzero` of an axis) takes five times as long.
    cells = np.flatnonzero(marked)
    return cells, np.bincount(cells // marked.shape[1], minlength=len(marked))


def _sort(
    scores: Floats,
    cells: Cells,
    rows: Cells,
    counts: Cells,
    n: int,
    ids: list[Ids],
    values: list[Floats],
) -> None:
    """Fill in the best n of these rows' candidates, which stand at `cells` row after row."""
    columns = (cells % scores.shape[1]).astype(np.int32)
    shape = (rows.size, int(counts.max()))
    held = np.arange(shape[1]) < counts[:, None]
    toys = np.zeros(shape, dtype=np.int32)
    toys[held] = columns
    negated = np.full(shape, np.inf, dtype=np.float32)
    negated[held] = -scores.reshape(-1)[cells]
    # Candidates stand in the order of the catalogue, so a stable sort breaks ties by it.
    order = np.argsort(negated, axis=1, kind="stable")[:, :n]
    best = np.take_along_axis(toys, order, axis=1)
    found = -np.take_along_axis(negated, order, axis=1)
    for place, row in enumerate(rows):
        ids[row], values[row] = best[place], found[place]


def _row_by_row(scores: Floats, n: int) -> tuple[list[Ids], list[Floats]]:
    ids = [top_n(row, n) for row in scores]
    return ids, [row[best] for row, best in zip(scores, ids, strict=True)]
