"""Bad input at random, on every reader of bytes from outside.

python -m tests.fuzz --inputs 100000
python -m tests.fuzz --target job --engine atheris
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Its allocator takes address space far ahead, which the limit of memory would count.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--target", action="append", help="one reader; may be said again")
    options.add_argument("--inputs", type=int, default=100_000, help="of each reader")
    options.add_argument("--seconds", type=float, default=0, help="at most, of each reader")
    options.add_argument("--engine", choices=("mutate", "atheris"), default="mutate")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, help="folder for inputs that did harm")
    options.add_argument("--list", action="store_true", help="name the readers")
    chosen = options.parse_args()
    if chosen.engine == "atheris":
        from tests.fuzz.guided import main as guided

        return guided(chosen.target, chosen.inputs, chosen.seed)
    from tests.fuzz.engine import fuzz
    from tests.fuzz.targets import TARGETS

    wanted = chosen.target or list(TARGETS)
    unknown = sorted(set(wanted) - TARGETS.keys())
    if unknown or chosen.list:
        print(*TARGETS, sep="\n")
        return 2 if unknown else 0
    print(f"{'target':20} {'inputs':>8} {'refused':>8} {'seconds':>8} {'peak MB':>8} slowest  harm")
    harmed = 0
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        report = fuzz(TARGETS[name], chosen.inputs, chosen.seed, chosen.seconds)
        print(
            f"{name:20} {report.inputs:8} {report.refused:8} {report.seconds:8.1f} "
            f"{report.peak_mb:8.1f} {report.slowest_seconds:6.2f} s  {len(report.crashes)}",
            flush=True,
        )
        harmed += bool(report.crashes)
        for place, crash in enumerate(report.crashes):
            print(f"    {crash.what}: {crash.data[:160]!r}", flush=True)
            if chosen.keep:
                (chosen.keep / f"{name}-{place}.bin").write_bytes(crash.data)
        if chosen.keep and report.slowest_seconds > 1:
            (chosen.keep / f"{name}-slowest.bin").write_bytes(report.slowest)
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
