"""Tries a program of one's own on invented shoppers, before anything is sent to anybody."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from datasites.errors import SettingsError
from datasites.merchant.contributions import Answer, Nest
from datasites.merchant.contributions.total import noised_sums
from datasites.recipes import recipe_named
from datasites.recipes.custom.settings import CustomSettings
from datasites.study.desk import compose
from datasites.study.home import ScientistHome
from recsys.data import Interactions, read_catalogue
from recsys.federation import Update
from recsys.privacy import GaussianEvent, SecureNoise

__all__ = ["Trial", "try_program"]

_MOST_HISTORY = 12


@dataclass(frozen=True)
class Trial:
    """How one phase went on invented shoppers.

    Args:
        rows, failed, clipped: shoppers with a row, without one, with one that was cut.
        median_norm, largest_norm: lengths of rows before they are cut at `clip`.
        milliseconds: time for each shopper.
        said: the first error, or what the program printed first.
    """

    phase: str
    rows: int
    failed: int
    clipped: int
    median_norm: float
    largest_norm: float
    clip: float
    milliseconds: float
    said: str


def try_program(home: ScientistHome, study: str, shoppers: int = 100) -> list[Trial]:
    """Run every phase of a custom study here, with the sandbox, clipping and noise of a merchant.

    Raises SettingsError if the study is not a custom one or server.py does not do, ReviewError if
    the program does not load, SandboxError if this machine has no sandbox.
    """
    proposal = compose(home, study)
    if proposal.recipe != "custom":
        raise SettingsError(
            f"expected a study with a program of its own, '{study}' runs {proposal.recipe}. "
            "Start one with `toyfed study new NAME --custom -m MERCHANT`."
        )
    folder = home.study(study)
    recipe = recipe_named("custom").of_study(folder)
    settings = CustomSettings.read(proposal.settings)
    catalogue, _ = read_catalogue(home.catalogue)
    chance = np.random.default_rng(0)
    histories = Interactions.from_lists(
        [
            chance.integers(0, catalogue.n_items, chance.integers(1, _MOST_HISTORY + 1)).tolist()
            for _ in range(shoppers)
        ],
        catalogue.n_items,
    )
    state = recipe.initial_state(proposal.settings, proposal.n_items)
    state |= recipe.public_arrays(proposal.settings, catalogue)
    found = []
    with tempfile.TemporaryDirectory(prefix="toyfed-try-") as work:
        for phase in proposal.phases:
            file = Path(work) / "state.safetensors"
            save_file(recipe.state_for(phase.name, state), file)
            arrays = settings.arrays(phase.name, proposal.n_items)
            job = {
                "phase": phase.name,
                "n_items": proposal.n_items,
                "program": settings.program,
            }
            (event,) = phase.privacy_events()
            assert isinstance(event, GaussianEvent)
            answers: list[Answer] = []
            with Nest(folder / "code", file, job, arrays, settings.limits()) as nest:
                begun = time.monotonic()
                sums, facts = noised_sums(
                    nest, histories, arrays, event, SecureNoise(), seen=answers.append
                )
                seconds = time.monotonic() - begun
            norms = [float(np.linalg.norm(one.values)) for one in answers if one.parts is not None]
            errors = [one.text for one in answers if one.parts is None]
            printed = [one.text for one in answers if one.parts is not None and one.text]
            found.append(
                Trial(
                    phase=phase.name,
                    rows=facts.rows,
                    failed=facts.shoppers - facts.rows,
                    clipped=facts.clipped,
                    median_norm=float(np.median(norms)) if norms else 0.0,
                    largest_norm=max(norms, default=0.0),
                    clip=event.sensitivity,
                    milliseconds=1000 * seconds / (facts.shoppers + facts.looked_at_twice),
                    said=(errors or printed or [""])[0],
                )
            )
            update = Update(
                arrays={name: array.astype(np.float32) for name, array in sums.items()},
                weight=1.0,
                events=[event],
                merchant="invented",
            )
            state = recipe.merge(phase.name, [update], state, proposal.settings, "support")
    return found
