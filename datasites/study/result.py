"""The end of a study: the artefact (arrays + manifest) and a model card for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasites.study.files import read_sent
from datasites.study.quality import figures_of, noise_of
from recsys.artifact import SharedModel, save_model
from recsys.files import atomic_write_text
from recsys.privacy import spent

if TYPE_CHECKING:
    from datasites.protocol import Proposal
    from datasites.study.coordinator import Coordinator

__all__ = ["write_result"]


def write_result(study: Coordinator, state: dict[str, np.ndarray]) -> Path:
    """Write `artefact/` with model.safetensors, manifest.json and MODEL_CARD.md; return it.

    Everything in it is post-processing of releases that merchants booked: it costs nothing more.
    """
    proposal = study.proposal
    folder = study.folder / "artefact"
    contributors: dict[str, list[str]] = study.checkpoint()["contributors"]
    # What was asked of a merchant counts, whether its update came in time or not: a late update
    # has left its datasite, and a failed run stays spent in its ledger.
    asked = {
        phase.name: list(
            # A lost list must not make anybody's epsilon smaller: then all count as asked.
            read_sent(study.folder / "sent" / f"{phase.name}.json")
            or study.settings.study.merchants
        )
        for phase in proposal.phases
    }
    released = {
        merchant: [
            event
            for phase, names in asked.items()
            if merchant in names
            for event in proposal.phase(phase).privacy_events()
        ]
        for merchant in study.settings.study.merchants
    }
    shared = {name: state[name] for name in study.recipe.model_arrays}
    epsilons = {
        merchant: spent(events, proposal.delta) for merchant, events in released.items() if events
    }
    save_model(
        folder,
        SharedModel(
            arrays=shared,
            recipe=proposal.recipe,
            settings={"study": proposal.study, "model": proposal.settings},
            catalogue_digest=proposal.catalogue,
            epsilon=epsilons,
            delta=proposal.delta,
            events={merchant: events for merchant, events in released.items() if events},
        ),
    )
    atomic_write_text(folder / "MODEL_CARD.md", _card(study, contributors, epsilons, state))
    return folder


def _card(
    study: Coordinator,
    contributors: dict[str, list[str]],
    epsilons: dict[str, float],
    state: dict[str, np.ndarray],
) -> str:
    proposal = study.proposal
    rows = "\n".join(
        f"| {merchant} | {epsilon:.4g} | "
        f"{', '.join(phase for phase, names in contributors.items() if merchant in names) or '-'} |"
        for merchant, epsilon in epsilons.items()
    )
    settings = "\n".join(f"- `{name}` = {value}" for name, value in proposal.settings.items())
    return f"""# Model card: {proposal.study}

Made on {datetime.now(UTC):%Y-%m-%d} with the recipe **{proposal.recipe}** ({study.recipe.title}),
over {proposal.n_items:,} toys, merged with `{study.settings.federation.merge}`.

## Privacy
Unit: one shopper's whole history at one merchant, added or removed. Delta: {proposal.delta:g}.
Everything that was asked of a merchant is counted, late and failed runs included.

| merchant | epsilon | phases it contributed to |
|---|---|---|
{rows}

A shopper who buys at several of these merchants is protected at each by the figure above, and by
no more than their composition over all of them.

## Quality, as released (noised; on the `valid` split)
{_quality(state, proposal)}

## Training data
Each merchant's {study.recipe.learns_from}, unless the
merchant's own file says otherwise. It never left the datasites.

## Use and limits
For recommending toys of this catalogue. Merchants blend it with models of their own, which are
fitted on their own validation split; this model alone may be worse than that blend.

## Settings
{settings}
"""


def _quality(state: dict[str, np.ndarray], proposal: Proposal) -> str:
    released = [value for key, value in sorted(state.items()) if key.startswith("quality_of:")]
    if not released:
        return "None was released."
    lines = [
        f"| {one.name} | {one.mean:.3f} | ± {one.margin:.3f}"
        + (", the noise drowns it |" if one.margin >= one.mean else " |")
        for one in figures_of(released, noise_of(proposal))
    ]
    return (
        "Means over all merchants' shoppers, and what the booked noise leaves open (95 %).\n\n"
        "| figure | mean | noise |\n|---|---|---|\n" + "\n".join(lines)
    )
