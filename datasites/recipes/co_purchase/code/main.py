"""Co-purchase: what runs inside a merchant's sandbox, one phase at a time.

Reads  /inputs/job/job.json                 the approved settings and the phase to run
       /inputs/data/shop.parquet            this merchant's purchases (never leave)
       /inputs/data/catalogue.parquet       the public catalogue
       /inputs/state/state.safetensors      the public list of pairs of toys
Writes /output/release.safetensors          noised arrays, the only thing that may leave
       /output/release.json                 the privacy events that they cost

Phase `counts` tells roughly how often each toy is bought and how many shoppers there are, phase
`pairs` roughly how often the two toys of each listed pair are bought soon after one another. A
shopper adds at most a vector of length 1 to the pairs, whatever she bought.

Both count all purchases but the last one of a shopper, the splits `train` and `valid`: a merchant
measures with what the *others* released, so its own `valid` is not in what it measures. `test` is
never touched.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recsys.data import read_catalogue, read_shop
from recsys.models.co_purchase import (
    COUNTS,
    CoPurchaseSettings,
    PairCells,
    counts_release,
    make_plan,
    pairs_release,
)
from recsys.privacy import Budget, SecureNoise

INPUTS, OUTPUT = Path("/inputs"), Path("/output")


def main() -> None:
    job = json.loads((INPUTS / "job" / "job.json").read_text())
    settings = CoPurchaseSettings.from_dict(job["settings"])
    plan = make_plan(settings, Budget(job["epsilon"], job["delta"]))
    catalogue, _ = read_catalogue(INPUTS / "data" / "catalogue.parquet")
    shop = read_shop(INPUTS / "data" / "shop.parquet", catalogue)
    purchases, phase, noise = shop.split.before_test(), job["phase"], SecureNoise()

    if phase == COUNTS:
        counts, shoppers, _ = counts_release(purchases, plan, noise)
        release = {"item_counts": counts, "shopper_count": np.array([shoppers])}
    else:
        state = load_file(INPUTS / "state" / "state.safetensors")
        cells = PairCells(state["pair_toys"], state["pair_similarity"], catalogue.n_items)
        if cells.n_cells != catalogue.n_items * settings.pairs_per_toy:
            raise SystemExit("Expected a list of as many pairs as the settings say.")
        pairs, _ = pairs_release(purchases, cells, plan, noise)
        release = {"pair_sums": pairs}

    save_file(release, OUTPUT / "release.safetensors")
    events = [plan.phases[phase].to_dict()]
    (OUTPUT / "release.json").write_text(json.dumps({"events": events}))


if __name__ == "__main__":
    main()
