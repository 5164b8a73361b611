"""The demo's report: exact figures of every merchant side by side, and a pooled blend.

Only possible because one person owns all merchants of a simulation. Over a real marketplace a data
scientist has `toyfed study report`, whose figures were noised and booked by the merchants.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.fit import own_components
from datasites.merchant.slots import heavy_work
from recsys.data import Interactions, Marketplace
from recsys.evaluation import (
    KS,
    Evaluation,
    Report,
    bought_groups,
    by_group,
    combine,
    evaluate,
    measured,
    paired_difference,
)
from recsys.files import atomic_write_text
from recsys.models import Blend, Popularity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datasites.simulation.story import Story

__all__ = ["build_report", "write_manifest"]


def build_report(story: Story, report: Report) -> None:
    """Fill `report` with what every merchant measured, popularity and the pooled blend.

    Privacy: exact figures of every merchant; for the owner of the simulation alone.
    """
    study = story.settings.study
    found = {name: _quality(home, study) for name, home in story.merchants.items()}
    names = [name for name, models in found.items() if models]
    bought = np.concatenate([_purchases(story.merchants[name], study) for name in names])
    at = np.repeat(names, [found[name]["alone"].n for name in names])
    per_model: dict[str, dict[str, Evaluation]] = {
        model: {name: found[name][model] for name in names} for model in found[names[0]]
    }
    with heavy_work():
        per_model = _pooled(story.marketplace) | per_model
    rng = np.random.default_rng(story.settings.seed)
    order = ("popularity", "content", "local", "alone", "shared", "federated", "pooled")
    for model in (*order, *(name for name in per_model if name not in order)):
        report.results[model] = measured(per_model[model], rng)
    alone = combine(list(per_model["alone"].values())).per_shopper["ndcg@10"]
    together = combine(list(per_model["federated"].values())).per_shopper["ndcg@10"]
    gain = paired_difference(alone, together, rng)
    report.gain = {
        "ndcg@10": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "n": float(alone.size),
        "taken_up_by": float(sum(_takes_up(story.merchants[name], study) for name in names)),
    }
    report.groups = {
        "purchases of a shopper": by_group(alone, together, bought_groups(bought), rng),
        "shoppers of a merchant": by_group(alone, together, _size_groups(at), rng),
    }
    report.privacy = {name: _privacy(home) for name, home in story.merchants.items()}
    report.settings = {
        "recipe": story.settings.recipe,
        "epsilon": story.settings.epsilon,
        "delta": story.settings.delta,
        "seed": story.settings.seed,
        "rounds": story.settings.rounds,
        "merge": story.settings.merge,
        "merchants": list(story.merchants),
        "toys": story.marketplace.catalogue.n_items,
        "simulation": True,
    }


def write_manifest(story: Story, report: Path) -> Path:
    """Write marketplace.json, by which the web page finds everything."""
    target = story.settings.workdir / "marketplace.json"
    manifest = {
        "merchants": [str(home.root) for home in story.merchants.values()],
        "scientist": str(story.scientist.root),
        "study": story.settings.study,
        "report": str(report.resolve()),
        "simulation": True,
    }
    atomic_write_text(target, json.dumps(manifest, indent=1))
    return target


def _quality(home: MerchantHome, study: str) -> dict[str, Evaluation]:
    file = home.private / "quality" / f"{study}.npz"
    if not file.exists():
        return {}
    n_items = _n_items(home)
    models: dict[str, dict[str, Any]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            if key == "purchases":
                continue
            model, _, metric = key.partition("|")
            models.setdefault(model, {})[metric] = arrays[key]
    found = {}
    for model, metrics in models.items():
        lists = metrics.pop("lists")
        found[model] = Evaluation(metrics, np.arange(len(lists)), lists, KS, n_items)
    return found


def _purchases(home: MerchantHome, study: str) -> NDArray[np.int64]:
    """How many toys each judged shopper had bought before the one to be found."""
    with np.load(home.private / "quality" / f"{study}.npz", allow_pickle=False) as arrays:
        found: NDArray[np.int64] = arrays["purchases"]
    return found


def _size_groups(at: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    """Judged shoppers by how many their merchant has, in three bands of merchants."""
    names, sizes = np.unique(at, return_counts=True)
    bands = np.array_split(names[np.argsort(sizes)], 3)
    titles = ("smallest merchants", "merchants in between", "largest merchants")
    return {
        title: np.isin(at, band) for title, band in zip(titles, bands, strict=True) if band.size
    }


def _takes_up(home: MerchantHome, study: str) -> bool:
    """Whether a merchant's blend gives any weight to what was shared."""
    facts = json.loads((home.private / "quality" / f"{study}.json").read_text())
    weights = facts["weights"]
    return any(
        weight > 0 for name, weight in weights["federated"].items() if name not in weights["alone"]
    )


def _n_items(home: MerchantHome) -> int:
    from datasites.merchant.store import load_catalogue

    return load_catalogue(home).n_items


def _pooled(marketplace: Marketplace) -> dict[str, dict[str, Evaluation]]:
    """Popularity and the best blend over everybody's purchases in one place."""
    shops = marketplace.shops
    splits = [shop.split for shop in shops.values()]
    train = _joined([split.train for split in splits])
    valid = _joined([split.valid for split in splits])
    before = _joined([split.before_test() for split in splits])
    test = _joined([split.test for split in splits])
    catalogue = marketplace.catalogue
    blend = Blend(own_components()).fit(train, catalogue).fit_weights(train, valid)
    pooled_blend = Blend(own_components(), blend.weights, blend.units).fit(before, catalogue)
    popular = Popularity().fit(before, catalogue)
    sizes = [shop.split.train.n_shoppers for shop in shops.values()]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return {
        name: {
            shop: _part(whole, int(starts[number]), int(starts[number + 1]))
            for number, shop in enumerate(shops)
        }
        for name, whole in (
            ("popularity", evaluate(popular, before, test)),
            ("pooled", evaluate(pooled_blend, before, test)),
        )
    }


def _joined(parts: list[Interactions]) -> Interactions:
    lengths = np.concatenate([part.lengths for part in parts])
    return Interactions(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.concatenate([part.items for part in parts]),
        shopper_ids=np.arange(lengths.size).astype(str),
        n_items=parts[0].n_items,
    )


def _part(whole: Evaluation, start: int, stop: int) -> Evaluation:
    inside = (whole.rows >= start) & (whole.rows < stop)
    return Evaluation(
        {name: values[inside] for name, values in whole.per_shopper.items()},
        whole.rows[inside] - start,
        whole.lists[inside],
        whole.ks,
        whole.n_items,
    )


def _privacy(home: MerchantHome) -> dict[str, Any]:
    ledger = Ledger.open(home.ledger_path)
    ledger.verify()
    entries = [entry for entry in ledger.entries() if entry.kind == "reserved"]
    return {
        "epsilon": ledger.spent().epsilon,
        "delta": ledger.budget.delta,
        "budget": ledger.budget.epsilon,
        "events": sum(len(entry.body["events"]) for entry in entries),
        "runs": len(entries),
    }
