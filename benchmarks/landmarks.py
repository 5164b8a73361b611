"""Figures on real toys, pooled and alone, by the project's own full-ranking evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasites.merchant.fit import own_components
from recsys.data import Interactions, read_marketplace
from recsys.evaluation import combine, evaluate
from recsys.models import Blend, ContentSimilarity, ItemNeighbours, LocalALS, Popularity


def run(folder: Path) -> None:
    """Weights are fitted on `valid`; every printed figure is on `test`."""
    marketplace, _ = read_marketplace(folder)
    catalogue, splits = marketplace.catalogue, [s.split for s in marketplace.shops.values()]
    before = _joined([split.before_test() for split in splits])
    test = _joined([split.test for split in splits])
    print(f"{'model':28} {'HR@10':>7} {'NDCG@10':>8}")
    for name, model in {
        "popularity, pooled": Popularity(),
        "content, recency": ContentSimilarity(),
        "item kNN, recency, pooled": ItemNeighbours(),
        "implicit ALS, pooled": LocalALS(factors=128),
    }.items():
        found = evaluate(model.fit(before, catalogue), before, test).overall()
        print(f"{name:28} {found['hr@10']:7.4f} {found['ndcg@10']:8.4f}", flush=True)
    parts = []
    for split in splits:
        fitted = Blend(own_components()).fit(split.train, catalogue)
        fitted.fit_weights(split.train, split.valid)
        blend = Blend(own_components(), fitted.weights, fitted.units)
        history = split.before_test()
        parts.append(evaluate(blend.fit(history, catalogue), history, split.test))
    found = combine(parts).overall()
    print(f"{'each merchant alone, blend':28} {found['hr@10']:7.4f} {found['ndcg@10']:8.4f}")


def _joined(parts: list[Interactions]) -> Interactions:
    lengths = np.concatenate([part.lengths for part in parts])
    return Interactions(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.concatenate([part.items for part in parts]),
        shopper_ids=np.arange(lengths.size).astype(str),
        n_items=parts[0].n_items,
    )
