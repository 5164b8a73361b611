"""Full ranking: every target among all toys, shopper by shopper, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.evaluation.metrics import coverage, novelty, rank_metrics, target_ranks
from recsys.models.base import Recommender, chunks, mask_seen, top_n

__all__ = ["KS", "Evaluation", "combine", "evaluate"]

KS = (5, 10, 20)

Floats = npt.NDArray[np.float64]
Score = Callable[[Interactions], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """How well the targets of each shopper were found.

    Args:
        per_shopper: metric name to float64 [n_evaluated].
        rows: int64 [n_evaluated], row of each evaluated shopper in the histories.
        lists: int32 [n_evaluated, max(ks)], the list shown, -1 where it is short.
        ks: lengths of list.
        n_items: size of the catalogue.

    Privacy: exact, one row per shopper; stays at the merchant. Figures that leave need noise.
    """

    per_shopper: dict[str, Floats]
    rows: npt.NDArray[np.int64]
    lists: npt.NDArray[np.int32]
    ks: tuple[int, ...]
    n_items: int

    def __repr__(self) -> str:
        return f"Evaluation(ks={self.ks}, n_items={self.n_items}, shoppers not shown)"

    @property
    def n(self) -> int:
        """Number of shoppers evaluated."""
        return int(self.rows.size)

    def where(self, keep: npt.NDArray[np.bool_]) -> Evaluation:
        """Return the evaluation of some of the shoppers only; `keep` is bool [n_evaluated]."""
        return Evaluation(
            {name: values[keep] for name, values in self.per_shopper.items()},
            self.rows[keep],
            self.lists[keep],
            self.ks,
            self.n_items,
        )

    def overall(self) -> dict[str, float]:
        """Return the mean of every metric over shoppers, coverage@k, and `n`.

        Without an evaluated shopper every metric is NaN and n is 0.
        """
        means = {name: _mean(values) for name, values in self.per_shopper.items()}
        for k in self.ks:
            means[f"coverage@{k}"] = coverage(self.lists, self.n_items, k)
        means["n"] = float(self.n)
        return means


def evaluate(
    score: Score | Recommender,
    histories: Interactions,
    targets: Interactions,
    ks: Sequence[int] = KS,
    popularity: tuple[npt.NDArray[np.integer], int] | None = None,
    *,
    alone: bool = False,
) -> Evaluation:
    """Rank the targets among all toys and measure hr, ndcg, recall, mrr, coverage and novelty.

    Toys in a shopper's history are left out of her ranking; a target that she had bought before
    stays in (buying a toy again is a purchase to be predicted like any other). Ties count half.
    A target given twice counts once. Shoppers without a target are not evaluated; those with a
    target and an empty history are.

    Args:
        score: a fitted Recommender, or a function from rows to float32 [n_rows, n_items].
        histories: what the model may know of each shopper.
        targets: what each shopper bought next; same rows as `histories`, one target or several.
        ks: lengths of list.
        popularity: ([n_items] shoppers per toy, shoppers in all) for novelty; the histories
            themselves by default.
        alone: score each shopper in a call of her own. Products of many rows at once are summed in
            an order that depends on how many there are, so that one shopper more can change the
            last bits of all others, and a model made for it turns last bits into ranks. Figures
            whose noise is made for one shopper's change need it.

    Raises:
        ModelError: rows or catalogues that do not fit, or scores of another shape.

    Privacy: reads every shopper's purchases; stays at the merchant. What is to be released under
    noise is measured with `alone`.
    """
    if targets.n_shoppers != histories.n_shoppers or targets.n_items != histories.n_items:
        raise ModelError(
            "Expected histories and targets with the same rows and catalogue, found different "
            "ones. Take both from one Split."
        )
    if not ks or min(ks) < 1:
        raise ModelError(f"Expected list lengths of at least 1, found {tuple(ks)}.")
    scorer = score.score if isinstance(score, Recommender) else score
    if alone:
        scorer = _one_by_one(scorer)
    rows = np.flatnonzero(targets.lengths > 0)
    longest = max(ks)
    lists = np.full((rows.size, longest), -1, dtype=np.int32)
    parts: list[dict[str, Floats]] = []
    for block in chunks(rows.size, histories.n_items):
        known, wanted = histories.rows(rows[block]), targets.rows(rows[block])
        scores = _checked(scorer(known), known)
        pairs = np.unique(np.stack([wanted.row_index, wanted.items.astype(np.int64)]), axis=1)
        ranks = target_ranks(
            scores, pairs[0], pairs[1], known.row_index, known.items.astype(np.int64)
        )
        parts.append(rank_metrics(ranks, pairs[0], block.size, ks))
        masked = mask_seen(scores, known)
        masked[pairs[0], pairs[1]] = scores[pairs[0], pairs[1]]
        for place, row in zip(block, masked, strict=True):
            best = top_n(row, longest)
            lists[place, : best.size] = best
    names = [f"{metric}@{k}" for k in ks for metric in ("hr", "ndcg", "recall", "mrr")]
    per_shopper = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
        for name in names
    }
    counts, shoppers = popularity or (histories.item_counts(), histories.n_shoppers)
    for k in ks:
        per_shopper[f"novelty@{k}"] = novelty(lists, counts, shoppers, k)
    return Evaluation(per_shopper, rows, lists, tuple(ks), histories.n_items)


def combine(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Join evaluations of disjoint shoppers, so that means are weighted by shopper.

    Row numbers are kept as they were; shoppers stand in the order of the evaluations.

    Raises:
        ModelError: no evaluation at all, or other metrics or catalogues among them.
    """
    if not evaluations:
        raise ModelError("Expected at least one evaluation to combine, found none.")
    first = evaluations[0]
    if any(
        other.ks != first.ks
        or other.n_items != first.n_items
        or other.per_shopper.keys() != first.per_shopper.keys()
        for other in evaluations
    ):
        raise ModelError(
            "Expected evaluations with the same metrics and catalogue, found different ones. "
            "Evaluate all merchants with the same ks."
        )
    return Evaluation(
        {
            name: np.concatenate([part.per_shopper[name] for part in evaluations])
            for name in first.per_shopper
        },
        np.concatenate([part.rows for part in evaluations]),
        np.concatenate([part.lists for part in evaluations]),
        first.ks,
        first.n_items,
    )


def _one_by_one(score: Score) -> Score:
    def scores(rows: Interactions) -> npt.NDArray[np.float32]:
        each = [score(rows.rows([row])) for row in range(rows.n_shoppers)]
        return np.concatenate(each) if each else score(rows)

    return scores


def _checked(scores: npt.NDArray[np.float32], rows: Interactions) -> npt.NDArray[np.float32]:
    if scores.shape != (rows.n_shoppers, rows.n_items):
        raise ModelError(
            f"Expected scores with one column for each of {rows.n_items} toys and one row per "
            f"shopper, found {scores.ndim} dimensions with {scores.shape[-1:]} columns."
        )
    return scores


def _mean(values: Floats) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else float("nan")
