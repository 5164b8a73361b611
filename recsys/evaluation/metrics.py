"""Ranks and the metrics made of them: pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["coverage", "novelty", "rank_metrics", "target_ranks"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def target_ranks(
    scores: npt.NDArray[np.float32], rows: Ints, targets: Ints, seen_rows: Ints, seen_items: Ints
) -> Floats:
    """Rank each target among all toys but the seen ones, ties at half rank.

        rank = 1 + #{j: s_j > s_target} + #{j != target: s_j = s_target} / 2

    A target that was seen before still takes part, for its own row; NaN counts as -inf, the end.

    Args:
        scores: float32 [n_rows, n_items], nothing masked.
        rows, targets: [n_targets], row and toy of each target, sorted by row, each pair once.
        seen_rows, seen_items: [n_seen], row and toy of each purchase in the histories.

    Returns:
        float64 [n_targets], 1 is the best.
    """
    values = np.where(np.isnan(scores), -np.inf, scores)
    wanted = values[rows, targets]
    # NaN compares false with everything, so masked toys are neither above nor level.
    values[seen_rows, seen_items] = np.nan
    values[rows, targets] = wanted
    ranks = np.empty(rows.size, dtype=np.float64)
    # The targets of one row are taken one at a time, so that a block is compared whole.
    slots = np.arange(rows.size) - np.searchsorted(rows, rows)
    for slot in range(int(slots.max(initial=-1)) + 1):
        chosen = slots == slot
        block = values if chosen.sum() == values.shape[0] else values[rows[chosen]]
        level = wanted[chosen][:, None]
        above = np.count_nonzero(block > level, axis=1)
        equal = np.count_nonzero(block == level, axis=1) - 1
        ranks[chosen] = 1 + above + equal / 2
    return ranks


def rank_metrics(ranks: Floats, rows: Ints, n_rows: int, ks: Sequence[int]) -> dict[str, Floats]:
    """Turn ranks into per-row metrics, each float64 [n_rows] in [0, 1].

        hr@k     = 1 if any target has rank <= k
        recall@k = #{targets with rank <= k} / #targets
        mrr@k    = 1 / (best rank) if that is <= k, else 0
        ndcg@k   = sum_{rank <= k} 1 / log2(rank + 1) / sum_{i=1}^{min(k, #targets)} 1 / log2(i + 1)

    (Jarvelin & Kekalainen, TOIS 2002, binary gains; for one target recall equals hr.)

    Args:
        ranks: [n_targets] from `target_ranks`.
        rows: [n_targets], row of each; every row from 0 to n_rows - 1 has at least one.
        n_rows: number of rows.
        ks: lengths of list.
    """
    counts = np.bincount(rows, minlength=n_rows)
    best = np.full(n_rows, np.inf)
    np.minimum.at(best, rows, ranks)
    found: dict[str, Floats] = {}
    for k in ks:
        hit = ranks <= k
        gains = np.where(hit, 1 / np.log2(ranks + 1), 0.0)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))])
        found[f"hr@{k}"] = (best <= k).astype(np.float64)
        found[f"ndcg@{k}"] = (
            np.bincount(rows, weights=gains, minlength=n_rows) / ideal[np.minimum(counts, k)]
        )
        found[f"recall@{k}"] = np.bincount(rows, weights=hit, minlength=n_rows) / counts
        found[f"mrr@{k}"] = np.where(best <= k, 1 / best, 0.0)
    return found


def coverage(lists: npt.NDArray[np.int32], n_items: int, k: int) -> float:
    """Return the share of the catalogue that stands in at least one list's first `k`.

    Args:
        lists: int32 [n_rows, >= k] toys, best first, -1 where a list is short.
        n_items: size of the catalogue.
        k: length of list.
    """
    if lists.size == 0 or n_items == 0:
        return float("nan")
    shown = np.unique(lists[:, :k])
    return float(np.count_nonzero(shown >= 0) / n_items)


def novelty(
    lists: npt.NDArray[np.int32], shoppers_of: npt.NDArray[np.integer], n_shoppers: int, k: int
) -> Floats:
    """Return the mean surprise of each list in bits: mean_j -log2(max(n_j, 1) / n).

    (Zhou et al., PNAS 2010.) A list without a toy has NaN.

    Args:
        lists: int32 [n_rows, >= k], -1 where a list is short.
        shoppers_of: [n_items], shoppers who bought each toy.
        n_shoppers: shoppers in all, n.
        k: length of list.
    """
    head = lists[:, :k]
    shown = head >= 0
    surprise = -np.log2(np.maximum(shoppers_of, 1) / max(n_shoppers, 1))
    total = np.where(shown, surprise[np.maximum(head, 0)], 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / shown.sum(axis=1), dtype=np.float64)
