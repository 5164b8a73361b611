"""Time and peak memory as purchases grow, each measurement in a process of its own (Linux)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.markets import long_tail
from recsys.data import Catalogue, Interactions

MILLIONS = (1, 2, 4, 10)
TOYS, FACTORS = 20_000, 16


def run() -> None:
    """Print a table; everything is to grow in step with the purchases."""
    print(f"{'one thread, 20,000 toys, 16 factors':44} {'M':>3} {'CPU s':>7} {'s/M':>6} ", end="")
    print(f"{'peak MB':>8} {'CSR MB':>7} {'ratio':>6}")
    for name in WORK:
        for millions in MILLIONS:
            found = _in_own_process(name, millions)
            seconds, peak, csr = found["seconds"], found["peak_mb"], found["csr_mb"]
            print(
                f"{name:44} {millions:3} {seconds:7.2f} {seconds / found['millions']:6.2f} "
                f"{peak:8.0f} {csr:7.0f} {peak / csr:6.1f}",
                flush=True,
            )


def _sweep(train: Interactions) -> Callable[[], object]:
    from recsys.models.private_als import (
        PrivateALSSettings,
        als_round,
        initial_embeddings,
        make_plan,
    )
    from recsys.privacy import Budget, SecureNoise

    settings = PrivateALSSettings(factors=FACTORS)
    start, counts = initial_embeddings(TOYS, settings), np.ones(TOYS)
    plan = make_plan(settings, Budget(1.0, 1e-5))
    return partial(als_round, train, start, counts, settings, plan, SecureNoise(), round_number=1)


def _implicit(train: Interactions) -> Callable[[], object]:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=FACTORS, iterations=1, alpha=20.0, num_threads=1, random_state=0, use_cg=False
    )
    # From the same purchases on: theirs has to be given a matrix.
    return lambda: model.fit(train.csr(), show_progress=False)


def _neighbours(train: Interactions) -> Callable[[], object]:
    from recsys.models import ItemNeighbours

    return partial(ItemNeighbours().fit, train, _catalogue())


def _local(train: Interactions) -> Callable[[], object]:
    from recsys.models import LocalALS

    return partial(LocalALS(factors=FACTORS, iterations=1).fit, train, _catalogue())


def _popularity(train: Interactions) -> Callable[[], object]:
    from recsys.models import Popularity

    return partial(Popularity().fit, train, _catalogue())


def _recommend(train: Interactions) -> Callable[[], object]:
    from recsys.models import SharedEmbeddings

    vectors = np.random.default_rng(0).normal(size=(TOYS, FACTORS)).astype(np.float32)
    some = train.rows(np.arange(train.n_shoppers // 20))
    return partial(SharedEmbeddings(vectors).recommend, some, 20)


WORK: dict[str, Callable[[Interactions], Callable[[], object]]] = {
    "private sweep": _sweep,
    "implicit ALS, one exact iteration": _implicit,
    "fit popularity": _popularity,
    "fit local, one iteration": _local,
    "fit neighbours": _neighbours,
    "recommend 20 to every 20th shopper": _recommend,
}


def _catalogue() -> Catalogue:
    import pandas as pd

    names = [f"t{number}" for number in range(TOYS)]
    return Catalogue(pd.DataFrame({"item_id": names, "title": names}))


def _in_own_process(name: str, millions: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", name, str(millions)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(name: str, millions: int) -> None:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    train = long_tail(millions * 1_000_000, TOYS)
    # Imports and first uses are nobody's cost.
    WORK[name](long_tail(20_000, TOYS))()
    work = WORK[name](train)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    with threadpool_limits(limits=1, user_api="blas"):
        started = time.process_time()
        kept = work()
        seconds = time.process_time() - started
    peak = _status("VmHWM") - before
    del kept
    csr = 8 * train.n_purchases + 4 * train.n_shoppers
    print(
        json.dumps(
            {
                "seconds": seconds,
                "millions": train.n_purchases / 1e6,
                "peak_mb": peak / 1024,
                "csr_mb": csr / 2**20,
            }
        )
    )


def _status(name: str) -> int:
    """Kilobytes that the system says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2]))
