"""What joining adds as a market grows: one invented world, more and more shoppers.

The first 20,000 shoppers are the same at every size; they are judged, and the weights of the blends
are fitted on their `valid` purchases. All shoppers' other purchases are learned from.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.merchants import Merchant, merchants_of
from benchmarks.partition import partitioned
from benchmarks.plots import size_curve
from benchmarks.quality import Outcome, compare, shown
from benchmarks.rows import RowFile
from benchmarks.simulated import NOISES, Setting, recipe_names, simulated
from recsys.data import Marketplace, sparse_market

__all__ = ["main", "run"]

JUDGED, TOYS = 20_000, 12_000
SIZES = (20_000, 200_000)
FULL = (*SIZES, 1_000_000)
KEY = ("recipe", "epsilon", "shoppers", "noise")
EXTRA = ("ndcg_pooled", "share_alone", "share_federated", "seconds", "peak_gb")


def run(
    out: Path,
    sizes: Sequence[int] = SIZES,
    recipes: Sequence[str] = (),
    epsilon: float | None = 1.0,
    judged: int = JUDGED,
    toys: int = TOYS,
) -> None:
    """Measure what is not in `out` yet; print and plot all that is there.

    Args:
        out: gets size.csv, ceilings.csv and size.png.
        sizes: numbers of shoppers.
        recipes: all by default.
        epsilon: of one shopper at one merchant.
        judged: shoppers whose purchases are predicted, the first ones.
        toys: size of the catalogue.
    """
    table = RowFile(out / "size.csv", KEY, [*Outcome.__annotations__, *EXTRA])
    ceilings = RowFile(out / "ceilings.csv", ("shoppers",), ("ndcg_pooled", "seconds", "peak_gb"))
    for shoppers in sizes:
        settings = [
            (recipe, Setting(epsilon, noise=noise))
            for noise in NOISES
            for recipe in recipes or recipe_names()
            if not table.has(recipe=recipe, epsilon=shown(epsilon), shoppers=shoppers, noise=noise)
        ]
        if not settings:
            continue
        started = time.perf_counter()
        market = sparse_market(shoppers, toys=toys)
        print(f"{shoppers} shoppers invented: {time.perf_counter() - started:.0f} s", flush=True)
        ceiling = _ceiling(ceilings, market, shoppers, judged)
        started = time.perf_counter()
        merchants = merchants_of(market, _first_rows(market, judged))
        print(f"merchants alone: {time.perf_counter() - started:.0f} s", flush=True)
        for recipe, setting in settings:
            started = time.perf_counter()
            components = simulated(recipe, market, setting)
            outcome = compare(merchants, components)
            row = {
                "recipe": recipe,
                "epsilon": shown(setting.epsilon),
                "shoppers": shoppers,
                "noise": setting.noise,
                "ndcg_pooled": ceiling,
                "share_alone": outcome.ndcg_alone / ceiling,
                "share_federated": outcome.ndcg_federated / ceiling,
                "seconds": round(time.perf_counter() - started, 1),
                "peak_gb": _peak(),
            }
            table.add(row | asdict(outcome))
            print(recipe, setting.noise, f"{outcome.gain:+.4f}", f"{row['seconds']} s", flush=True)
    print_table(table)
    size_curve(table.path, out)


def _ceiling(table: RowFile, market: Marketplace, shoppers: int, judged: int) -> float:
    """NDCG@10 of the blend of a merchant who has all purchases; nothing is private there."""
    if not table.has(shoppers=shoppers):
        started = time.perf_counter()
        (everybody,) = partitioned(market, 1).shops.values()
        pooled = Merchant(everybody, market.catalogue, _pooled_rows(market, judged))
        seconds = round(time.perf_counter() - started, 1)
        figure = float(pooled.alone["ndcg@10"].mean())
        print(f"pooled: {figure:.4f}, {seconds:.0f} s, peak {_peak():.1f} GB", flush=True)
        table.add(
            {"shoppers": shoppers, "ndcg_pooled": figure, "seconds": seconds, "peak_gb": _peak()}
        )
    return float(
        next(row["ndcg_pooled"] for row in table.rows() if row["shoppers"] == str(shoppers))
    )


def _first_rows(market: Marketplace, judged: int) -> dict[str, np.ndarray]:
    """Rows of the first `judged` shoppers of the whole market, by shop."""
    rows = {}
    for name, shop in market.shops.items():
        numbers = np.array([int(str(shopper)[1:]) for shopper in shop.all.shopper_ids])
        rows[name] = np.flatnonzero(numbers < judged)
    return rows


def _pooled_rows(market: Marketplace, judged: int) -> np.ndarray:
    """The same shoppers' rows where all shops are one."""
    sizes = [shop.all.n_shoppers for shop in market.shops.values()]
    starts = np.cumsum([0, *sizes[:-1]])
    first = _first_rows(market, judged).values()
    return np.concatenate([rows + start for rows, start in zip(first, starts, strict=True)])


def _peak() -> float:
    """Largest resident memory of this process so far, GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2)


def print_table(table: RowFile) -> None:
    """The table as text."""
    print(
        f"\n{'shoppers':>9} {'recipe':14}{'noise':11}{'alone':>7}{'joined':>8}{'pooled':>8}"
        f"{'gain':>9}  {'95 % interval':18}{'alone/pooled':>13}{'joined/pooled':>14}"
    )
    for row in sorted(table.rows(), key=lambda row: int(row["shoppers"])):
        interval = f"{float(row['low']):+.4f} to {float(row['high']):+.4f}"
        print(
            f"{row['shoppers']:>9} {row['recipe']:14}{row['noise']:11}"
            f"{float(row['ndcg_alone']):7.4f}{float(row['ndcg_federated']):8.4f}"
            f"{float(row['ndcg_pooled']):8.4f}{float(row['gain']):+9.4f}  {interval:18}"
            f"{float(row['share_alone']):13.3f}{float(row['share_federated']):14.3f}"
        )


def main(arguments: Sequence[str]) -> None:
    """`size [--full] [--recipes A,B] [--epsilon 1] [--out DIR]`."""
    parser = argparse.ArgumentParser(prog="size", description=__doc__)
    parser.add_argument("--full", action="store_true", help="also a million shoppers")
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=[])
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    chosen = parser.parse_args(arguments)
    run(chosen.out, FULL if chosen.full else SIZES, chosen.recipes, chosen.epsilon)
