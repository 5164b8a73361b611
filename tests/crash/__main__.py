"""`python -m tests.crash`: the crash table and the soak of random kills.

python -m tests.crash --write docs/crash-points.md      kill at every point, write the table
python -m tests.crash --random 200 [--seed N]           kill at random, print counts
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.crash.soak import kill_at_random
from tests.crash.table import every_point, write_table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--write", type=Path, help="where the table goes")
    parser.add_argument("--random", type=int, help="how many random kills")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=2, help="marketplaces at once, with --write")
    asked = parser.parse_args()
    if asked.write is None and asked.random is None:
        parser.error("expected --write FILE or --random NUMBER")
    with tempfile.TemporaryDirectory(prefix="toyfed-crash-") as folder:
        if asked.write is not None:
            begun = time.monotonic()
            rows = every_point(Path(folder), asked.jobs)
            write_table(asked.write, rows)
            print(f"{len(rows)} points, {time.monotonic() - begun:.0f} s: {asked.write}")
        if asked.random is not None:
            seed = time.time_ns() % 2**32 if asked.seed is None else asked.seed
            print(kill_at_random(Path(folder), merchants=3, kills=asked.random, seed=seed))


if __name__ == "__main__":
    main()
