"""What a data scientist's folder says about each study; files alone, no connection is made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError

if TYPE_CHECKING:
    from datasites.protocol import Proposal

__all__ = [
    "STATES",
    "StudyFacts",
    "expected_quality",
    "norms",
    "released",
    "releases",
    "study_facts",
]

STATES = {
    "draft": "to be submitted",
    "submitted": "with the merchants",
    "running": "running",
    "stopped": "stopped, can go on",
    "finished": "finished",
}


@dataclass(frozen=True)
class StudyFacts:
    """One study as its files tell it.

    Args:
        state: draft, submitted, running, stopped or finished.
        phases: names of all phases, () before it was submitted.
        model: settings of the recipe; all of them once it was submitted.
    """

    name: str
    state: str
    recipe: str = ""
    epsilon: float = float("nan")
    delta: float = float("nan")
    merge: str = ""
    merchants: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()
    contributors: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, dict[str, str]] = field(default_factory=dict)
    delivered: tuple[str, ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def study_facts(home: ScientistHome, name: str) -> StudyFacts:
    """Read one study's folder; what is wrong with it is in `problem`."""
    from datasites.protocol import Proposal
    from datasites.study.journal import running_pid
    from datasites.study.settings import StudySettings

    folder = home.study(name)
    try:
        settings = StudySettings.read(folder / "study.toml")
    except ToyFedError as error:
        return StudyFacts(name, "draft", problem=str(error))
    phases: tuple[str, ...] = ()
    model: dict[str, Any] = settings.model
    problem = ""
    done: dict[str, Any] = {}
    submitted = (folder / "proposal.json").exists()
    try:
        if submitted:
            proposal = Proposal.model_validate_json((folder / "proposal.json").read_text())
            phases = tuple(phase.name for phase in proposal.phases)
            model = proposal.settings
        if (folder / "checkpoint.json").exists():
            done = json.loads((folder / "checkpoint.json").read_text())
    except (OSError, ValueError) as error:
        problem = f"a file of this study is damaged ({type(error).__name__}): put back a backup"
    state = "submitted" if submitted else "draft"
    if running_pid(folder) is not None:
        state = "running"
    elif (folder / "artefact" / "MODEL_CARD.md").exists():
        state = "finished"
    elif done.get("finished"):
        state = "stopped"
    return StudyFacts(
        name=name,
        state=state,
        recipe=settings.study.recipe,
        epsilon=settings.privacy.epsilon,
        delta=settings.privacy.delta,
        merge=settings.federation.merge,
        merchants=settings.study.merchants,
        phases=phases,
        finished=tuple(done.get("finished", ())),
        contributors=done.get("contributors", {}),
        dropped=done.get("dropped", {}),
        delivered=tuple(done.get("delivered", ())),
        model=model,
        problem=problem,
    )


def releases(proposal: Proposal) -> pd.DataFrame:
    """One row per release: phase, array, shape, noise and what it costs by itself."""
    from recsys.privacy import GaussianEvent, spent

    rows = []
    for phase in proposal.phases:
        noise = []
        for event in phase.privacy_events():
            if isinstance(event, GaussianEvent):
                noise.append(f"{1 / event.mu:.3g} x sensitivity")
            else:
                noise.append(
                    f"{event.noise_multiplier:.3g} x clip, {event.steps} steps, "
                    f"{event.sampling_rate:.3g} of shoppers"
                )
        rows.append(
            {
                "phase": phase.name,
                "releases": ", ".join(
                    f"{one.name} [{' x '.join(map(str, one.shape))}]" for one in phase.outputs
                ),
                "noise": "; ".join(dict.fromkeys(noise)),
                "epsilon": spent(phase.privacy_events(), proposal.delta),
            }
        )
    return pd.DataFrame(rows, columns=["phase", "releases", "noise", "epsilon"])


def norms(home: ScientistHome, name: str) -> pd.DataFrame:
    """Norm of every array of every update that was kept: phase, merchant, array, norm.

    Privacy: updates have left their datasites noised and booked; looking at them is free.
    """
    rows = []
    for file in sorted((home.study(name) / "updates").glob("*/*.safetensors")):
        merchant = file.stem.replace("_at_", "@")
        for array, norm in _norms(str(file), file.stat().st_mtime_ns):
            rows.append(
                {"phase": file.parent.name, "merchant": merchant, "array": array, "norm": norm}
            )
    return pd.DataFrame(rows, columns=["phase", "merchant", "array", "norm"])


def released(home: ScientistHome, name: str) -> pd.DataFrame:
    """Quality as merchants released it: study, figure, mean, low, high (what noise leaves open).

    Privacy: post-processing of what was noised and booked.
    """
    from datasites.protocol import Proposal
    from datasites.study.quality import released_quality

    folder = home.study(name)
    try:
        proposal = Proposal.model_validate_json((folder / "proposal.json").read_bytes())
        found = released_quality(folder, proposal)
    except (OSError, ValueError):  # pydantic's error is a ValueError
        found = []
    rows = [
        {
            "study": name,
            "figure": one.name,
            "mean": one.mean,
            "low": one.mean - one.margin,
            "high": one.mean + one.margin,
        }
        for one in found
    ]
    return pd.DataFrame(rows, columns=["study", "figure", "mean", "low", "high"])


@lru_cache(maxsize=4096)
def _norms(file: str, stamp: int) -> tuple[tuple[str, float], ...]:
    from safetensors.numpy import load

    del stamp  # only there to read again when the file changes
    try:
        arrays = load(Path(file).read_bytes())
    except Exception:
        return ()
    return tuple((key, float(np.linalg.norm(value))) for key, value in sorted(arrays.items()))


def expected_quality() -> pd.DataFrame:
    """What joining brought in the benchmark: recipe, epsilon, gain of NDCG@10, low, high.

    Measured on the Amazon toys (8 merchants, 19,412 shoppers, 11,924 toys, each merchant's own
    noise, test split, delta 1e-5): docs/experiments.md, "Quality: the table".
    """
    return pd.read_csv(Path(__file__).with_name("expected_quality.csv"))
