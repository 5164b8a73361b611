"""Every recipe under every budget, alone and together, on real toys.

Blend weights are fitted on `valid` by components that saw `train`; the figures are on `test`, by
components that saw `train` and `valid`. What is released saw `train` only, in both, except of
recipes whose merchants use what the others released alone (`co-purchase`): that saw `train` and
`valid`, for no merchant's own `valid` is in what it uses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.baselines import baselines
from benchmarks.merchants import Figures, Merchant, merchants_of
from benchmarks.partition import partitioned
from benchmarks.plots import privacy_utility
from benchmarks.rows import RowFile
from benchmarks.simulated import NOISES, Components, Setting, recipe_names, simulated
from recsys.data import Marketplace, read_marketplace
from recsys.evaluation import paired_difference

__all__ = ["Outcome", "compare", "main", "run"]

EPSILONS: tuple[float | None, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, None)
MERCHANTS = (8, 1, 4, 16)
KEY = ("recipe", "epsilon", "merchants", "noise")
BASELINES = ("content", "alone")


@dataclass(frozen=True)
class Outcome:
    """What joining adds, over all shoppers of all merchants.

    Args:
        n: shoppers judged.
        hr_alone, ndcg_alone, hr_federated, ndcg_federated: at 10, weighted by shopper.
        gain: in NDCG@10, with its 95 % paired bootstrap interval `low` to `high`.
        worst_merchant: who gains least, and by how much, `worst_gain`.
        joined: merchants whose blend took up a shared component.
    """

    n: int
    hr_alone: float
    ndcg_alone: float
    hr_federated: float
    ndcg_federated: float
    gain: float
    low: float
    high: float
    worst_merchant: str
    worst_gain: float
    joined: int


def compare(merchants: Sequence[Merchant], components: Components, seed: int = 0) -> Outcome:
    """Blend the shared components at every merchant and measure."""
    alone, together = [merchant.alone for merchant in merchants], []
    taken_up = 0
    for merchant in merchants:
        shared = components(merchant.name)
        figures, weights = merchant.federated(shared)
        together.append(figures)
        taken_up += any(weights[name] > 0 for name in shared)
    first, second = _whole(alone, "ndcg@10"), _whole(together, "ndcg@10")
    difference = paired_difference(first, second, np.random.default_rng(seed))
    gains = {
        merchant.name: float((b["ndcg@10"] - a["ndcg@10"]).mean())
        for merchant, a, b in zip(merchants, alone, together, strict=True)
        if len(a["ndcg@10"])
    }
    worst = min(gains, key=lambda name: gains[name])
    return Outcome(
        n=len(first),
        hr_alone=float(_whole(alone, "hr@10").mean()),
        ndcg_alone=float(first.mean()),
        hr_federated=float(_whole(together, "hr@10").mean()),
        ndcg_federated=float(second.mean()),
        gain=difference.mean,
        low=difference.low,
        high=difference.high,
        worst_merchant=worst,
        worst_gain=gains[worst],
        joined=taken_up,
    )


def run(
    data: Path,
    out: Path,
    recipes: Sequence[str] = (),
    epsilons: Sequence[float | None] = EPSILONS,
    merchants: Sequence[int] = MERCHANTS,
    jobs: int = 1,
) -> None:
    """Measure what is not in `out` yet; print and plot all that is there.

    Args:
        data: a marketplace folder.
        out: gets quality.csv, baselines.csv, quality.png.
        recipes: all by default.
        epsilons: of one shopper at one merchant; None is without privacy.
        merchants: numbers of merchants, see `partitioned`.
        jobs: rows measured at once, each in a process of its own; changes nothing but the
            seconds.
    """
    columns = [*Outcome.__annotations__, "seconds"]
    table = RowFile(out / "quality.csv", KEY, columns)
    usual = RowFile(out / "baselines.csv", ("model", "merchants"), _BASELINE_COLUMNS)
    official, _ = read_marketplace(data)
    for number in merchants:
        marketplace = partitioned(official, number)
        missing = _missing(table, recipes or recipe_names(), epsilons, number)
        if not missing and usual.has(model="alone", merchants=number):
            continue
        started = time.perf_counter()
        each = merchants_of(marketplace)
        print(f"{number} merchants alone: {time.perf_counter() - started:.0f} s", flush=True)
        _baselines(usual, each, number)
        _measure_all(_Table(table, marketplace, each), missing, jobs)
    print_tables(table, usual)
    privacy_utility(table.path, usual.path, out, len(official.shops))


_BASELINE_COLUMNS = ("n", "hr", "ndcg", "worst_merchant", "worst_ndcg", "seconds")


def _missing(
    table: RowFile, recipes: Sequence[str], epsilons: Sequence[float | None], merchants: int
) -> list[tuple[str, Setting]]:
    # One merchant's own noise is the one central draw.
    noises = NOISES if merchants > 1 else NOISES[:1]
    return [
        (recipe, Setting(epsilon, noise=noise))
        for epsilon in epsilons
        for noise in noises
        for recipe in recipes
        if not table.has(recipe=recipe, epsilon=shown(epsilon), merchants=merchants, noise=noise)
    ]


def shown(epsilon: float | None) -> str:
    """How a table names a budget."""
    return "inf" if epsilon is None else f"{epsilon:g}"


@dataclass(frozen=True, eq=False)
class _Table:
    """What every row of one number of merchants starts from."""

    table: RowFile
    marketplace: Marketplace
    merchants: Sequence[Merchant]

    def measure(self, recipe: str, setting: Setting) -> str:
        """Add one row to the table; returns it in words."""
        started = time.perf_counter()
        components = simulated(recipe, self.marketplace, setting)
        outcome = compare(self.merchants, components)
        key: dict[str, Any] = {
            "recipe": recipe,
            "epsilon": shown(setting.epsilon),
            "merchants": len(self.merchants),
            "noise": setting.noise,
        }
        seconds = time.perf_counter() - started
        self.table.add(key | asdict(outcome) | {"seconds": round(seconds, 1)})
        return f"{' '.join(map(str, key.values()))} {outcome.gain:+.4f} {seconds:.0f} s"


_shared: _Table | None = None


def _measure_all(prepared: _Table, missing: Sequence[tuple[str, Setting]], jobs: int) -> None:
    """Measure rows, several at once where that is wanted: copies of this process, so that they
    share the gigabytes that the merchants' own scores take.
    """
    global _shared
    _shared = prepared
    if jobs == 1 or len(missing) < 2:
        for one in missing:
            print(_measure_one(one), flush=True)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("fork"), initializer=_one_thread
    ) as pool:
        for done in as_completed([pool.submit(_measure_one, one) for one in missing]):
            print(done.result(), flush=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)


def _measure_one(one: tuple[str, Setting]) -> str:
    assert _shared is not None
    return _shared.measure(*one)


def _baselines(table: RowFile, merchants: Sequence[Merchant], number: int) -> None:
    """Models that each merchant fits by itself; with one merchant they are pooled."""
    known = [*BASELINES, *baselines()]
    for name in known:
        if table.has(model=name, merchants=number):
            continue
        started = time.perf_counter()
        found = []
        for merchant in merchants:
            if name == "alone":
                found.append(merchant.alone)
            elif name in BASELINES:
                found.append(merchant.own(name))
            else:
                found.append(merchant.baseline(baselines()[name]))
        means = {
            merchant.name: float(figures["ndcg@10"].mean())
            for merchant, figures in zip(merchants, found, strict=True)
        }
        worst = min(means, key=lambda merchant: means[merchant])
        ndcg = _whole(found, "ndcg@10")
        row = {
            "model": name,
            "merchants": number,
            "n": len(ndcg),
            "hr": float(_whole(found, "hr@10").mean()),
            "ndcg": float(ndcg.mean()),
            "worst_merchant": worst,
            "worst_ndcg": means[worst],
            "seconds": round(time.perf_counter() - started, 1),
        }
        table.add(row)


def _whole(parts: Sequence[Figures], metric: str) -> np.ndarray:
    return np.concatenate([part[metric] for part in parts])


def print_tables(table: RowFile, usual: RowFile) -> None:
    """Both tables as text."""
    print("\nfitted by each merchant alone (with 1 merchant: pooled, no privacy), test split")
    print(f"{'model':20}{'merchants':>10}{'HR@10':>8}{'NDCG@10':>9}{'worst':>8}")
    for row in usual.rows():
        print(
            f"{row['model']:20}{row['merchants']:>10}{float(row['hr']):8.4f}"
            f"{float(row['ndcg']):9.4f}{float(row['worst_ndcg']):8.4f}"
        )
    print("\nfederated blends, test split")
    print(
        f"{'recipe':14}{'merchants':>10}{'epsilon':>8} {'noise':11}{'HR@10':>7}{'NDCG@10':>9}"
        f"{'alone':>8}{'gain':>9}  {'95 % interval':18}{'worst gain':>11}{'joined':>7}"
    )
    for row in table.rows():
        interval = f"{float(row['low']):+.4f} to {float(row['high']):+.4f}"
        print(
            f"{row['recipe']:14}{row['merchants']:>10}{row['epsilon']:>8} {row['noise']:11}"
            f"{float(row['hr_federated']):7.4f}{float(row['ndcg_federated']):9.4f}"
            f"{float(row['ndcg_alone']):8.4f}{float(row['gain']):+9.4f}  {interval:18}"
            f"{float(row['worst_gain']):+11.4f}{row['joined']:>7}"
        )


def main(arguments: Sequence[str]) -> None:
    """`quality --data DIR [--recipes A,B] [--epsilons 1,inf] [--merchants 8] [--out DIR]`."""
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a marketplace folder")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    parser.add_argument("--recipes", type=_names, default=[], help="all by default")
    parser.add_argument("--epsilons", type=_budgets, default=EPSILONS, help="such as 0.5,1,inf")
    parser.add_argument("--merchants", type=_numbers, default=MERCHANTS, help="such as 8,16")
    parser.add_argument(
        "--jobs", type=_jobs, default=os.cpu_count() or 1, help="rows at once; one a core"
    )
    chosen = parser.parse_args(arguments)
    run(chosen.data, chosen.out, chosen.recipes, chosen.epsilons, chosen.merchants, chosen.jobs)


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text}")
    return int(text)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(recipe_names()))
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected recipes of {', '.join(recipe_names())}; found {', '.join(unknown)}"
        )
    return names


def _budgets(text: str) -> list[float | None]:
    return [None if part == "inf" else float(part) for part in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
