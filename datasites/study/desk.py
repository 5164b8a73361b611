"""A data scientist's desk: compose a study, see its cost, send its proposal."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from datasites.errors import SettingsError
from datasites.protocol import Proposal
from datasites.recipes import recipe_named
from datasites.study.coordinator import proposal_job
from datasites.study.files import read_proposal
from datasites.study.home import ScientistHome
from datasites.study.settings import StudySettings
from recsys.data import read_catalogue
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    from datasites.syftbox import ScientistLink

__all__ = ["compose", "new_study", "plan", "submit"]


def new_study(home: ScientistHome, settings: StudySettings) -> Path:
    """Make a study's folder with study.toml and the recipe's code; returns the folder.

    Raises SettingsError if the name is taken or the recipe or one of its settings is unknown.
    """
    recipe = recipe_named(settings.study.recipe)
    complete = settings.model_copy(update={"model": recipe.complete(settings.model)})
    folder = home.study(settings.study.name)
    if (folder / "study.toml").exists():
        raise SettingsError(
            f"expected a new name, '{settings.study.name}' exists already in {home.studies}. "
            "Choose another: merchants keep what they approved under a name for ever."
        )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        recipe.code,
        folder / "code",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    if recipe.study_files is not None:
        shutil.copytree(
            recipe.study_files,
            folder,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    complete.write(folder / "study.toml")
    return folder


def compose(home: ScientistHome, study: str) -> Proposal:
    """The proposal that study.toml and the catalogue amount to, with every phase and its cost.

    Raises SettingsError if study.toml, the recipe's settings or the catalogue cannot be used.
    """
    return plan(home, StudySettings.read(home.study(study) / "study.toml"))


def plan(home: ScientistHome, settings: StudySettings) -> Proposal:
    """What settings amount to over this home's catalogue, whether they are a study yet or not.

    Raises SettingsError if the recipe's settings or the catalogue cannot be used.
    """
    recipe = recipe_named(settings.study.recipe)
    if not home.catalogue.exists():
        raise SettingsError(
            f"expected the public catalogue in {home.catalogue}, found none. "
            "Give it with `toyfed study init --catalogue items.csv`."
        )
    digest, n_items = _catalogue_facts(home.catalogue, home.catalogue.stat().st_mtime_ns)
    model = recipe.complete(settings.model)
    return Proposal(
        study=settings.study.name,
        recipe=settings.study.recipe,
        settings=model,
        catalogue=digest,
        n_items=n_items,
        epsilon=settings.privacy.epsilon,
        delta=settings.privacy.delta,
        phases=recipe.phases(model, settings.privacy.budget(), n_items),
    )


@lru_cache(maxsize=8)
def _catalogue_facts(file: Path, stamp: int) -> tuple[str, int]:
    """Digest and size; a form that shows a plan asks again at every key that is pressed."""
    del stamp  # only there to read again when the file changes
    catalogue, _ = read_catalogue(file)
    return catalogue.digest, catalogue.n_items


def submit(home: ScientistHome, link: ScientistLink, study: str) -> Proposal:
    """Send the proposal to every merchant of the study, once; sending again changes nothing.

    Raises SettingsError if study.toml changed after it was submitted.
    """
    proposal = compose(home, study)
    folder = home.study(study)
    file = folder / "proposal.json"
    if file.exists():
        earlier = read_proposal(folder)
        if earlier.sha256 != proposal.sha256:
            raise SettingsError(
                f"'{study}' was submitted with other settings than study.toml holds now. "
                "Put them back, or start a new study."
            )
    atomic_write_text(file, proposal.model_dump_json(indent=1))
    for merchant in StudySettings.read(folder / "study.toml").study.merchants:
        sent = folder / "sent" / f"proposal-{merchant.replace('@', '_at_')}"
        if not sent.exists():
            link.submit(
                merchant, proposal_job(study), folder / "code", proposal.model_dump(mode="json")
            )
            atomic_write_text(sent, "")
    link.sync()
    return proposal
