"""The public list of pairs as a catalogue grows: time and peak memory, each size by itself."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsys.data import Catalogue, read_marketplace
from recsys.models.co_purchase import pair_cells

PAIRS_PER_TOY = 14


def main(arguments: Sequence[str]) -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pairs", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a marketplace with real toys")
    parser.add_argument("--toys", type=int, nargs="*", default=[50_000, 200_000])
    chosen = parser.parse_args(arguments)
    print(f"{'toys':>9} {'seconds':>8} {'peak MB':>8} {'pairs':>10}")
    for toys in (0, *chosen.toys):
        # In a process of its own, so that the peak is this size's alone.
        work = multiprocessing.get_context("spawn").Process(target=_one, args=(chosen.data, toys))
        work.start()
        work.join()


def _one(folder: Path, toys: int) -> None:
    """One size; 0 for the real catalogue as it is."""
    catalogue = read_marketplace(folder)[0].catalogue
    if toys:
        catalogue = mixed(catalogue, toys)
    started = time.perf_counter()
    cells = pair_cells(catalogue, PAIRS_PER_TOY)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{catalogue.n_items:9,} {seconds:8.1f} {peak:8,} {cells.n_listed:10,}", flush=True)


def mixed(catalogue: Catalogue, n_items: int) -> Catalogue:
    """Toys that each have the beginning of one real title and the end of another's."""
    frame, rng = catalogue.frame, np.random.default_rng(0)
    first, second = rng.integers(0, len(frame), (2, n_items))
    titles = [str(title).split() for title in frame["title"].fillna("")]
    mixture = frame.iloc[first].copy()
    mixture["title"] = [
        " ".join(titles[a][: len(titles[a]) // 2] + titles[b][len(titles[b]) // 2 :])
        for a, b in zip(first, second, strict=True)
    ]
    mixture["category_path"] = frame["category_path"].to_numpy()[second]
    mixture["item_id"] = [f"toy-{number}" for number in range(n_items)]
    return Catalogue(mixture.reset_index(drop=True))
