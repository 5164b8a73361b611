"""Merges side by side where merchants are alike, unequal, specialised, or many and small.

Each merchant noises its own releases. Quality is NDCG@10 on the `valid` purchase of shoppers who
came later: nothing was trained or fitted on them, so that also a merchant of 50 shoppers can be
judged by a thousand.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.simulated import Setting, joined, simulated_noise
from datasites.merchant.fit import own_components
from datasites.recipes.private_als.recipe import PrivateALSRecipe
from recsys.data import Catalogue, Interactions, Split, leave_one_out, synthesize
from recsys.evaluation import evaluate, paired_difference
from recsys.federation import Update, merge_names
from recsys.files import atomic_write_text
from recsys.models import Blend, Recommender
from recsys.models.private_als import (
    PrivateALSSettings,
    als_round,
    counts_release,
    make_plan,
    release_statistics,
)
from recsys.privacy import Budget, SecureNoise

__all__ = ["main", "run"]

EPSILON, DELTA = 1.0, 1e-5
TOYS, LATER, FITTED, FEW = 300, 1000, 1500, 500
DECLARED, ONE_PLACE = "fedavg, declared", "all in one place"
RULES = (*merge_names(), DECLARED, ONE_PLACE)
COLUMNS = ("situation", "merge", "shoppers of", "shared", "alone", "gain", "low", "high")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Situation:
    """Merchants that learn, and for each the shoppers who come later."""

    name: str
    catalogue: Catalogue
    shops: Mapping[str, Split]
    later: Mapping[str, Split]

    @property
    def smallest(self) -> str:
        """The merchant with the fewest shoppers."""
        return min(self.shops, key=lambda name: self.shops[name].train.n_shoppers)


def main(arguments: list[str]) -> None:
    """`federation [--out DIR] [--noises N] [merge ...]`."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=federation", description=__doc__)
    parser.add_argument("merges", nargs="*", help=f"of {', '.join(RULES)}; all if left out")
    parser.add_argument("--out", type=Path, help="a folder for federation.csv")
    parser.add_argument("--noises", type=int, default=3, help="draws of the noise")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.merges) - set(RULES))
    if unknown:
        parser.error(f"expected merges of {', '.join(RULES)}; found {', '.join(unknown)}")
    run(chosen.merges or RULES, chosen.noises, chosen.out)


def run(rules: Sequence[str], noises: int, out: Path | None = None) -> None:
    """Print one row a merge and situation; write them as CSV to `out` / federation.csv."""
    print(f"merges at epsilon {EPSILON:g}, own noise, NDCG@10 on valid of later shoppers,")
    print(
        f"shared: mean over {noises} draws of the noise; gain of the blend over alone: first draw,"
    )
    print(f"or all draws where a merchant has no more than {FEW} shoppers")
    rows = []
    for situation in situations():
        judge = _Judge(situation)
        for rule in rules:
            models = [_train(situation, rule, seed) for seed in range(noises)]
            rows += judge.compare(rule, models)
    if out is not None:
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerows([COLUMNS, *rows])
        atomic_write_text(out / "federation.csv", table.getvalue())


def situations(seed: int = 0) -> Iterator[Situation]:
    """Four ways in which the same kind of market can be divided."""
    yield _divided("6 equal", [3_500] * 6, seed)
    yield _divided("50 beside 20,000", [20_000, 50], seed + 1)
    yield _specialists("6 specialists", 6, seed + 2)
    yield _divided("16 small", [1_000] * 16, seed + 3, LATER * 6 // 16)


def _divided(name: str, sizes: list[int], seed: int, later: int = LATER) -> Situation:
    """Shoppers of one market at merchants of these sizes, at random."""
    market = synthesize(
        None, merchants=1, shoppers=sum(sizes) + later * len(sizes), toys=TOYS, seed=seed
    )
    (shop,) = market.shops.values()
    ends = np.cumsum([*sizes, *[later] * len(sizes)])
    order = np.random.default_rng(seed).permutation(shop.all.n_shoppers)
    parts = [shop.split.rows(np.sort(rows)) for rows in np.split(order, ends[:-1])]
    names = [f"merchant {number + 1}" for number in range(len(sizes))]
    return Situation(
        name,
        market.catalogue,
        dict(zip(names, parts[: len(sizes)], strict=True)),
        dict(zip(names, parts[len(sizes) :], strict=True)),
    )


def _specialists(
    name: str, merchants: int, seed: int, shoppers: int = 30_000, later: int = LATER
) -> Situation:
    """Merchants that sell one category each; a shopper goes where she buys most, for that alone."""
    market = synthesize(None, merchants=1, shoppers=shoppers, toys=TOYS, seed=seed)
    (shop,) = market.shops.values()
    everything = shop.all
    paths = market.catalogue.frame["category_path"].str.split(" > ").str[1]
    largest = list(paths.value_counts().index[:merchants])
    category = paths.map({path: number for number, path in enumerate(largest)}).fillna(-1)
    sold = category.to_numpy(dtype=np.int64)[everything.items]
    bought = np.zeros((everything.n_shoppers, merchants), dtype=np.int64)
    np.add.at(bought, (everything.row_index[sold >= 0], sold[sold >= 0]), 1)
    best = np.argmax(bought, axis=1)
    kept = everything.where(sold == best[everything.row_index])
    shops, newcomers = {}, {}
    for number, path in enumerate(largest):
        mine = np.flatnonzero((best == number) & (kept.lengths >= 3))
        split = leave_one_out(kept.rows(mine))
        shops[path] = split.rows(np.arange(later, len(mine)))
        newcomers[path] = split.rows(np.arange(later))
    return Situation(name, market.catalogue, shops, newcomers)


class _Judge:
    """What each merchant has by itself, fitted once, against which every merge is held."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._own: dict[str, Blend] = {}
        self._alone: dict[str, Floats] = {}
        for merchant, split in situation.shops.items():
            own = Blend(own_components()).fit(split.train, situation.catalogue)
            self._own[merchant] = own.fit_weights(*self._fitted_on(merchant))
            self._alone[merchant] = _ndcg(own, situation.later[merchant])

    def compare(self, rule: str, models: list[dict[str, Recommender]]) -> list[list[str]]:
        """Print and return a row over all merchants and one of the smallest."""
        shared: dict[str, Floats] = {}
        blend: dict[str, Floats] = {}
        for merchant, later in self._situation.later.items():
            shared[merchant] = np.mean([_ndcg(model["shared"], later) for model in models], axis=0)
            # Weights that few shoppers decide differ much from draw to draw, and cost little.
            few = self._situation.shops[merchant].train.n_shoppers <= FEW
            joint = [self._joined(merchant, model) for model in (models if few else models[:1])]
            blend[merchant] = np.mean([_ndcg(one, later) for one in joint], axis=0)
        found = (shared, self._alone, blend)
        smallest = self._situation.smallest
        return [
            self._row(rule, "all", *(np.concatenate(list(values.values())) for values in found)),
            self._row(rule, "smallest", *(values[smallest] for values in found)),
        ]

    def _joined(self, merchant: str, model: dict[str, Recommender]) -> Blend:
        train = self._situation.shops[merchant].train
        for component in model.values():
            component.fit(train, self._situation.catalogue)
        return self._own[merchant].extend(model).fit_weights(*self._fitted_on(merchant))

    def _fitted_on(self, merchant: str) -> tuple[Interactions, Interactions]:
        split = self._situation.shops[merchant]
        some = np.arange(min(FITTED, split.train.n_shoppers))
        return split.train.rows(some), split.valid.rows(some)

    def _row(
        self, rule: str, whose: str, shared: Floats, alone: Floats, blend: Floats
    ) -> list[str]:
        gain = paired_difference(alone, blend, np.random.default_rng(0))
        print(
            f"{self._situation.name:16} {rule:16} {whose:8} shared {shared.mean():.4f}  "
            f"alone {alone.mean():.4f}  gain {gain.mean:+.4f} ({gain.low:+.4f} to "
            f"{gain.high:+.4f})",
            flush=True,
        )
        numbers = (shared.mean(), alone.mean(), gain.mean, gain.low, gain.high)
        return [self._situation.name, rule, whose, *(f"{number:.5f}" for number in numbers)]


def _ndcg(model: Recommender, later: Split) -> Floats:
    found: Floats = evaluate(model, later.train, later.valid).per_shopper["ndcg@10"]
    return found


def _train(situation: Situation, rule: str, seed: int) -> dict[str, Recommender]:
    """The recipe's rounds under this merge, without processes in between."""
    shops = {name: split.train for name, split in situation.shops.items()}
    sizes = {name: float(train.n_shoppers) for name, train in shops.items()}
    if rule == ONE_PLACE:
        shops = {"everybody": joined(shops)}
    merge = "fedavg" if rule in (DECLARED, ONE_PLACE) else rule
    recipe = PrivateALSRecipe()
    release = "statistics" if merge == "statistics" else "embeddings"
    settings = recipe.complete({"release": release})
    n_items = situation.catalogue.n_items
    state = recipe.initial_state(settings, n_items)
    # The same draws for every merge, so that they differ by what they make of them.
    noise = simulated_noise(Setting(EPSILON, DELTA, seed=seed), situation.name)
    for phase in recipe.phases(settings, Budget(EPSILON, DELTA), n_items):
        if phase.name != "quality":
            updates = [
                Update(
                    _release(phase.name, train, state, settings, noise),
                    1.0,
                    tuple(phase.privacy_events()),
                    name,
                )
                for name, train in shops.items()
            ]
            state = recipe.merge(phase.name, updates, state, settings, merge)
        if phase.name == "counts" and rule == DECLARED:
            state |= {f"size_of:{name}": np.array([size]) for name, size in sizes.items()}
    return recipe.model({name: state[name] for name in recipe.model_arrays}, settings)


def _release(
    phase: str,
    train: Interactions,
    state: dict[str, np.ndarray],
    settings: dict[str, object],
    noise: SecureNoise,
) -> dict[str, np.ndarray]:
    chosen = PrivateALSSettings.from_dict({k: v for k, v in settings.items() if k != "release"})
    plan = make_plan(chosen, Budget(EPSILON, DELTA))
    if phase == "counts":
        counts, shoppers, _ = counts_release(train, chosen, plan, noise)
        return {"item_counts": counts, "shopper_count": np.array([shoppers])}
    arguments = (train, state["item_embeddings"], state["item_counts"], chosen, plan, noise)
    number = int(phase.removeprefix("als-"))
    if settings["release"] == "statistics":
        return vars(release_statistics(*arguments, round_number=number)[0])
    return {"item_embeddings": als_round(*arguments, round_number=number)[0]}
