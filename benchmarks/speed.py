"""Ours beside implicit's on the same data, factors and threads: medians of interleaved runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.markets import long_tail
from recsys.data import Catalogue, Interactions, read_marketplace, synthesize
from recsys.models import (
    Blend,
    ContentSimilarity,
    ItemNeighbours,
    LocalALS,
    Popularity,
    SharedEmbeddings,
)
from recsys.models.private_als import (
    PrivateALSSettings,
    SpeedSettings,
    als_round,
    initial_embeddings,
    make_plan,
)
from recsys.privacy import Budget, SecureNoise

REPEATS = 5
SHOPPERS, LENGTH = 2_000, 20
CONFIDENCE = 20.0  # of LocalALS; 1, the library's default, weighs a purchase like none

Work = Callable[[], object]


def run(folder: Path | None = None) -> None:
    """Print a table; real toys join the invented ones where a folder is given."""
    invented = synthesize(None, merchants=1, shoppers=20_000, toys=2_000, seed=0)
    (shop,) = invented.shops.values()
    markets = {"invented, 2k toys": (invented.catalogue, shop.split.train)}
    if folder is not None:
        real, _ = read_marketplace(folder)
        largest = max(real.shops.values(), key=lambda shop: shop.split.train.n_purchases)
        markets["real toys"] = (real.catalogue, largest.split.train)
    print(f"{'ours':44} {'ms':>8}   {'implicit':40} {'ms':>8} {'ratio':>6}")
    for threads in (1, 2):
        # BLAS gets as many threads as the compiled loops of both sides.
        with threadpool_limits(limits=threads, user_api="blas"):
            for name, (catalogue, train) in markets.items():
                print(f"-- {name}, {train.n_purchases:,} purchases, {threads} thread(s)")
                _sweeps(train, threads)
                _batches(train, catalogue, threads)
            print(f"-- long tail, 12k toys, 1M purchases, {threads} thread(s)")
            _sweeps(long_tail(1_000_000, 12_000), threads)
    with threadpool_limits(limits=1, user_api="blas"):
        for toys in (12_000, 1_000_000):
            print(f"-- one shopper, {toys:,} toys, 32 factors, 1 thread")
            _one_shopper(toys)


def _sweeps(train: Interactions, threads: int) -> None:
    """One round of private ALS against one iteration, which solves shoppers and toys too."""
    matrix = train.csr()
    counts = np.maximum(1.0, train.item_counts().astype(np.float64))
    for factors in (16, 32):
        settings = PrivateALSSettings(factors=factors)
        sweep = partial(
            als_round,
            train,
            initial_embeddings(train.n_items, settings),
            counts,
            settings,
            make_plan(settings, Budget(1.0, 1e-5)),
            SecureNoise(),
            round_number=1,
            speed=SpeedSettings(threads=threads),
        )

        def iteration(use_cg: bool, alpha: float, factors: int = factors) -> None:
            AlternatingLeastSquares(
                factors=factors,
                iterations=1,
                num_threads=threads,
                random_state=0,
                use_cg=use_cg,
                alpha=alpha,
            ).fit(matrix, show_progress=False)

        _compare(
            f"private sweep, {factors} factors",
            sweep,
            {
                "iteration, exact": partial(iteration, False, CONFIDENCE),
                "iteration, 3 CG steps": partial(iteration, True, CONFIDENCE),
                "iteration, 3 CG steps, confidence 1": partial(iteration, True, 1.0),
            },
        )


def _batches(train: Interactions, catalogue: Catalogue, threads: int) -> None:
    """The best 20 unseen toys of 2,000 shoppers."""
    matrix, some = train.csr(), np.arange(min(SHOPPERS, train.n_shoppers))
    rows = train.rows(some)
    library = AlternatingLeastSquares(
        factors=64, regularization=0.1, alpha=CONFIDENCE, num_threads=threads, random_state=0
    )
    library.fit(matrix, show_progress=False)
    # The very same model, so that the lists have to be the same too.
    same = LocalALS(factors=64, decay=1.0, threads=threads)
    same.restore({"vectors": np.asarray(library.item_factors)}, catalogue)

    def theirs(recalculate: bool) -> np.ndarray:
        found, _ = library.recommend(
            some,
            matrix[some],
            N=LENGTH,
            recalculate_user=recalculate,
            filter_already_liked_items=True,
        )
        return np.asarray(found)

    local = partial(same.recommend, rows, LENGTH, threads=threads)
    alike = np.mean(
        [a.tolist() == b.tolist() for a, b in zip(local().ids, theirs(True), strict=True)]
    )
    print(f"   same lists as implicit with the same vectors: {alike:.1%} of shoppers")
    embeddings = np.asarray(library.item_factors)[:, :16].copy()
    shared = SharedEmbeddings(embeddings, alpha=2.0, regularization=0.01)
    blend = Blend(
        {
            "content": ContentSimilarity(),
            "neighbours": ItemNeighbours(),
            "local": LocalALS(threads=threads, iterations=3),
            "popularity": Popularity(),
            "shared": shared,
        },
        {"content": 1.0, "neighbours": 0.4, "local": 0.05, "popularity": 0.06, "shared": 0.1},
    ).fit(train, catalogue)
    models = {"local, 64 factors": same, "shared, 16 factors": shared, "blend of five": blend}
    for name, model in models.items():
        _compare(
            f"recommend {len(some):,}: {name}",
            partial(model.recommend, rows, LENGTH, threads=threads),
            {
                "recommend, 64 factors, known shoppers": partial(theirs, False),
                "recommend, 64 factors, folded in": partial(theirs, True),
            },
        )


def _one_shopper(toys: int) -> None:
    """Fold one shopper in and find her best 20 toys."""
    vectors = np.random.default_rng(0).normal(size=(toys, 32)).astype(np.float32) * 0.1
    model = SharedEmbeddings(vectors, alpha=1.0)
    shopper = long_tail(100, toys).rows([0])
    library = AlternatingLeastSquares(factors=32, num_threads=1)
    library.item_factors, library.user_factors = vectors, vectors[:1]
    matrix = shopper.csr()
    _compare(
        "fold-in and best 20, shared",
        partial(model.recommend, shopper, LENGTH),
        {
            "recommend, folded in": lambda: library.recommend(
                np.array([0]), matrix, N=LENGTH, recalculate_user=True
            )
        },
    )


def _compare(ours: str, our_work: Work, others: dict[str, Work]) -> None:
    times: dict[str, list[float]] = {name: [] for name in (ours, *others)}
    for repeat in range(REPEATS + 1):
        for name, work in {ours: our_work, **others}.items():
            started = time.perf_counter()
            work()
            if repeat:  # the first run fills caches
                times[name].append(1000 * (time.perf_counter() - started))
    mine = statistics.median(times[ours])
    for name in others:
        theirs = statistics.median(times[name])
        print(f"{ours:44} {mine:8.1f}   {name:40} {theirs:8.1f} {mine / theirs:6.2f}", flush=True)
