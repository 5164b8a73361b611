"""Private ALS: what runs inside a merchant's sandbox, one phase at a time.

Reads  /inputs/job/job.json                 the approved settings and the phase to run
       /inputs/data/shop.parquet            this merchant's purchases (never leave)
       /inputs/data/catalogue.parquet       the public catalogue
       /inputs/state/state.safetensors      what all merchants have learned so far (public)
Writes /output/release.safetensors          noised arrays, the only thing that may leave
       /output/release.json                 the privacy events that they cost

Phases: `counts` tells roughly how often each toy is bought, `als-1` ... `als-T` train the toys'
embeddings (with `release = "statistics"`: tell the noised sums that these are solved from),
`quality` tells roughly how well they recommend. Every array is noised before it is
written: one shopper more or less changes what is seen by no more than the approved epsilon.

Training uses the `train` split alone; `quality` is measured on `valid`; `test` is never touched.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recsys.data import read_catalogue, read_shop
from recsys.models.private_als import (
    PrivateALSSettings,
    als_round,
    counts_release,
    make_plan,
    quality_release,
    release_statistics,
)
from recsys.privacy import Budget, SecureNoise

INPUTS, OUTPUT = Path("/inputs"), Path("/output")


def main() -> None:
    job = json.loads((INPUTS / "job" / "job.json").read_text())
    chosen = dict(job["settings"])
    released = chosen.pop("release", "embeddings")
    settings = PrivateALSSettings.from_dict(chosen)
    plan = make_plan(settings, Budget(job["epsilon"], job["delta"]))
    catalogue, _ = read_catalogue(INPUTS / "data" / "catalogue.parquet")
    shop = read_shop(INPUTS / "data" / "shop.parquet", catalogue)
    phase, noise = job["phase"], SecureNoise()

    if phase == "counts":
        counts, shoppers, _ = counts_release(shop.split.train, settings, plan, noise)
        release = {"item_counts": counts, "shopper_count": np.array([shoppers])}
    elif phase == "quality":
        release = quality(catalogue, shop, settings, plan, noise)
    else:
        state = load_file(INPUTS / "state" / "state.safetensors")
        train = als_round if released == "embeddings" else release_statistics
        found, _ = train(
            shop.split.train,
            state["item_embeddings"],
            state["item_counts"],
            settings,
            plan,
            noise,
            round_number=int(phase.removeprefix("als-")),
        )
        if released == "embeddings":
            release = {"item_embeddings": found}
        else:
            release = {"gram": found.gram, "outer": found.outer, "linear": found.linear}

    save_file(release, OUTPUT / "release.safetensors")
    events = [event.to_dict() for event in plan.of(phase)]
    (OUTPUT / "release.json").write_text(json.dumps({"events": events}))


def quality(catalogue, shop, settings, plan, noise):
    """Hit rate and NDCG at 10 of two models that hold nothing of this merchant's own.

    Only such models can be told at this price: a model fitted on these shoppers changes for
    everybody when one of them leaves, so its figures would need far more noise.
    """
    from recsys.evaluation import evaluate
    from recsys.models import ContentSimilarity, SharedEmbeddings

    state = load_file(INPUTS / "state" / "state.safetensors")
    models = [
        ContentSimilarity().fit(shop.split.train, catalogue),
        SharedEmbeddings(state["item_embeddings"], alpha=2.0, regularization=0.01).fit(
            shop.split.train, catalogue
        ),
    ]
    columns = []
    for model in models:
        # Each shopper by herself: nobody's figures may depend on who else is there.
        measured = evaluate(model, shop.split.train, shop.split.valid, alone=True)
        columns += [measured.per_shopper["hr@10"], measured.per_shopper["ndcg@10"]]
    per_shopper = np.column_stack(columns).reshape(-1, len(columns))
    sums, shoppers, _ = quality_release(per_shopper, settings, plan, noise)
    return {"quality_sums": sums, "shopper_count": np.array([shoppers])}


if __name__ == "__main__":
    main()
