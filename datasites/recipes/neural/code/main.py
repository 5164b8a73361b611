"""Neural: what runs inside a merchant's sandbox, one phase at a time.

Reads  /inputs/job/job.json                 the approved settings and the phase to run
       /inputs/data/shop.parquet            this merchant's purchases (never leave)
       /inputs/data/catalogue.parquet       the public catalogue
       /inputs/state/state.safetensors      the network that all merchants have so far (public)
Writes /output/release.safetensors          noised arrays, the only thing that may leave
       /output/release.json                 the privacy events that they cost

Together with the coordinator this is the loop of federated learning under privacy:

    initialise            a network that recommends by similarity of the public catalogue
    repeat T times        T is fixed in advance, because every round is paid for
        distribute        the network goes to every merchant          (coordinator)
        train locally     some steps on a random sample of shoppers   (here, `train-t`)
        clip and noise    each shopper's gradient, in every step      (here)
        weighted average  w = sum_k (n_k / n) w_k, noised sizes n_k   (coordinator)

Phase `counts` tells roughly how often each toy is bought and how many shoppers there are; phases
`train-1` ... `train-T` train the network. Training uses the `train` split alone.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recsys.data import read_catalogue, read_shop
from recsys.models.neural import NeuralSettings, flatten, toy_features, unflatten
from recsys.models.neural.plan import COUNTS, counts_release, make_plan
from recsys.privacy import Budget, SecureNoise

INPUTS, OUTPUT = Path("/inputs"), Path("/output")


def main() -> None:
    job = json.loads((INPUTS / "job" / "job.json").read_text())
    settings = NeuralSettings.from_dict(job["settings"])
    plan = make_plan(settings, Budget(job["epsilon"], job["delta"]))
    catalogue, _ = read_catalogue(INPUTS / "data" / "catalogue.parquet")
    shop = read_shop(INPUTS / "data" / "shop.parquet", catalogue)
    phase, noise = job["phase"], SecureNoise()

    if phase == COUNTS:
        counts, shoppers = counts_release(shop.split.train, settings, plan, noise)
        release = {"item_counts": counts, "shopper_count": np.array([shoppers])}
    else:
        release = train(catalogue, shop, phase, settings, plan, noise)

    save_file(release, OUTPUT / "release.safetensors")
    events = [event.to_dict() for event in plan.of(phase)]
    (OUTPUT / "release.json").write_text(json.dumps({"events": events}))


def train(catalogue, shop, phase, settings, plan, noise):
    """Go on from the merged network: sample shoppers, clip each one's gradient, add noise."""
    from recsys.models.neural.training import train_locally

    state = load_file(INPUTS / "state" / "state.safetensors")
    trained = train_locally(
        shop.split.train,
        toy_features(catalogue, settings.features),
        state["popularity"],
        unflatten(state["network"], settings, catalogue.n_items),
        settings,
        plan.noise_multiplier,
        noise,
        round_number=int(phase.removeprefix("train-")),
    )
    return {"network": flatten(trained)}


if __name__ == "__main__":
    main()
