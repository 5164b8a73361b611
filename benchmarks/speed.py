"""A private sweep against one iteration of implicit's ALS, and batch recommendation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from recsys.data import synthesize
from recsys.models import LocalALS
from recsys.models.private_als import (
    PrivateALSSettings,
    als_round,
    initial_embeddings,
    make_plan,
)
from recsys.privacy import Budget, SecureNoise

FACTORS, REPEATS = 16, 7


def run() -> None:
    """Same data, factors and threads (one); medians over interleaved repeats."""
    from implicit.cpu.als import AlternatingLeastSquares

    market = synthesize(None, merchants=1, shoppers=20_000, toys=2_000, seed=0)
    (shop,) = market.shops.values()
    train = shop.split.train
    settings = PrivateALSSettings(factors=FACTORS)
    plan = make_plan(settings, Budget(1.0, 1e-5))
    counts = np.maximum(1.0, train.item_counts().astype(np.float64))
    embeddings, noise = initial_embeddings(train.n_items, settings), SecureNoise()
    matrix = train.csr()

    def private_sweep() -> None:
        als_round(train, embeddings, counts, settings, plan, noise, round_number=1)

    def implicit_iteration() -> None:
        model = AlternatingLeastSquares(
            factors=FACTORS, iterations=1, num_threads=1, random_state=0, use_cg=False
        )
        model.fit(matrix, show_progress=False)

    _compare("one sweep", private_sweep, "implicit ALS, one iteration", implicit_iteration)

    own = LocalALS(factors=FACTORS, threads=1).fit(train, market.catalogue)
    theirs = AlternatingLeastSquares(factors=FACTORS, iterations=3, num_threads=1, random_state=0)
    theirs.fit(matrix, show_progress=False)
    some = np.arange(2_000)

    def recommend() -> None:
        own.recommend(train.rows(some), 20)

    def implicit_recommend() -> None:
        theirs.recommend(some, matrix[some], N=20)

    _compare("recommend 2,000", recommend, "implicit recommend", implicit_recommend)


def _compare(
    ours: str, our_work: Callable[[], None], name: str, their_work: Callable[[], None]
) -> None:
    first, second = [], []
    for _ in range(REPEATS):
        first.append(_seconds(our_work))
        second.append(_seconds(their_work))
    a, b = statistics.median(first), statistics.median(second)
    print(f"{ours}: {a * 1000:.0f} ms, {name}: {b * 1000:.0f} ms, ratio {a / b:.2f}")


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
