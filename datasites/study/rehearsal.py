"""Tries a shipped recipe on mock purchases, before anything is sent to anybody.

The mocks are those that merchants publish: invented from the public catalogue alone, with a fixed
seed. Two invented merchants run every phase as real ones do, in the sandbox and through the gate,
and their updates are merged; only approval, ledger and share are left out, for there is nothing to
protect.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load, save_file

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant import MerchantHome, MerchantSettings, add_data, runs
from datasites.merchant.code import code_digest, read_code
from datasites.merchant.store import mock_files
from datasites.protocol import Phase, Proposal
from datasites.recipes import recipe_named
from datasites.study.desk import compose
from datasites.study.home import ScientistHome
from datasites.study.settings import StudySettings
from recsys.data import read_catalogue
from recsys.federation import Update

__all__ = ["Rehearsed", "rehearse"]

_MERCHANTS = 2
_RUN = "rehearsal"


@dataclass(frozen=True)
class Rehearsed:
    """How one phase went.

    Args:
        seconds, peak_mb: of the slower and the larger of the two runs; mock purchases are few, so
            real ones take longer.
        sends_bytes: what one merchant would send.
        arrays: names of what it would send.
    """

    phase: str
    seconds: float
    peak_mb: float
    sends_bytes: int
    arrays: tuple[str, ...]


def rehearse(home: ScientistHome, study: str) -> Iterator[Rehearsed]:
    """Run every phase of a study on mock purchases, one after another; yields each as it ends.

    Raises:
        SettingsError: the study brings a program of its own (see `try_program`).
        SandboxError: a run failed, or this machine has no sandbox; says what the code said, for
            there is nothing private in it.
        GateError: a run's output is not what the phase declares.

    Privacy: nobody's purchases are read; costs nothing.
    """
    proposal = compose(home, study)
    if proposal.recipe == "custom":
        raise SettingsError(f"expected a shipped recipe, '{study}' brings a program of its own")
    recipe = recipe_named(proposal.recipe)
    merge = StudySettings.read(home.study(study) / "study.toml").federation.merge
    catalogue, _ = read_catalogue(home.catalogue)
    digest = code_digest(read_code(recipe.code))
    state = recipe.initial_state(proposal.settings, proposal.n_items)
    state |= recipe.public_arrays(proposal.settings, catalogue)
    with tempfile.TemporaryDirectory(prefix="toyfed-rehearsal-") as folder:
        merchants = [_merchant(Path(folder), number, home) for number in range(_MERCHANTS)]
        for phase in proposal.phases:
            arrays = recipe.state_for(phase.name, state)
            facts, updates = [], []
            for merchant in merchants:
                inputs = runs.prepare(merchant, _RUN, proposal, phase)
                if arrays:
                    save_file(arrays, inputs / "state" / "state.safetensors")
                facts.append(_run(merchant, recipe.code, digest, proposal, phase))
                updates.append(_update(merchant, phase))
            state = recipe.merge(phase.name, updates, state, proposal.settings, merge)
            yield Rehearsed(
                phase=phase.name,
                seconds=max(one["seconds"] for one in facts),
                peak_mb=max(one["peak_mb"] for one in facts),
                sends_bytes=max(int(one["bytes"]) for one in facts),
                arrays=tuple(spec.name for spec in phase.outputs),
            )


def _merchant(folder: Path, number: int, desk: ScientistHome) -> MerchantHome:
    made = MerchantHome.create(
        folder / f"invented-{number}",
        MerchantSettings(
            name=f"invented-{number}", email=f"invented-{number}@mock.test", share=str(folder)
        ),
    )
    public = folder / "items.csv"
    if not public.exists():
        shutil.copyfile(desk.catalogue, public)
    mock = folder / "mock.csv"
    mock.write_bytes(mock_files(read_catalogue(public)[0])["mock.csv"])
    add_data(made, mock, public)
    return made


def _run(
    merchant: MerchantHome, code: Path, digest: str, proposal: Proposal, phase: Phase
) -> dict[str, float]:
    folder = merchant.runs / _RUN
    try:
        with runs.room_taken(merchant, _RUN, phase):
            booked = runs.execute(merchant, _RUN, code, digest, phase)
    except DatasiteError as error:
        said = _last_line(folder / "log.txt")
        raise type(error)(
            f"'{proposal.study}', phase {phase.name}, on mock purchases: {error}"
            + (f". Its log ends with: {said}" if said else "")
        ) from None
    outcome = json.loads((folder / "outcome.json").read_text())
    return {
        "seconds": float(outcome["seconds"]),
        "peak_mb": float(outcome["peak_mb"]),
        "bytes": booked["bytes"],
    }


def _update(merchant: MerchantHome, phase: Phase) -> Update:
    (released,) = runs.release_files(merchant, _RUN).values()
    return Update(
        arrays=load(released),
        weight=1.0,
        events=phase.privacy_events(),
        merchant=merchant.settings.email,
    )


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
