"""A data scientist's home folder: identity, and one folder per study.

home/
  scientist.toml         e-mail and share
  catalogue.csv          the public catalogue that studies are about
  private/  (0700)       keys and pinned peers
  syftbox/               PySyft's folder
  studies/NAME/          study.toml, code, proposal.json, checkpoint, updates, artefact
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from datasites.errors import SettingsError
from datasites.protocol import safe_name
from recsys.files import atomic_write_text

__all__ = ["ScientistHome", "ScientistSettings", "paired_merchants"]


class ScientistSettings(BaseModel):
    """What `scientist.toml` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$", max_length=120)]
    share: str
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 0.5


@dataclass(frozen=True)
class ScientistHome:
    """One data scientist's installation on this machine."""

    root: Path
    settings: ScientistSettings

    @classmethod
    def create(cls, root: Path, settings: ScientistSettings) -> ScientistHome:
        """Make the folder. Raises SettingsError if it is already a scientist's home."""
        root = Path(root).resolve()
        if (root / "scientist.toml").exists():
            raise SettingsError(
                f"expected an empty place for a new study desk; {root} is one already. "
                "Use it as it is, or choose another folder with --home."
            )
        home = cls(root, settings)
        root.mkdir(parents=True, exist_ok=True)
        (root / "private").mkdir(mode=0o700, exist_ok=True)
        os.chmod(root / "private", 0o700)
        home.studies.mkdir(exist_ok=True)
        atomic_write_text(root / "scientist.toml", tomli_w.dumps(settings.model_dump()))
        return home

    @classmethod
    def open(cls, root: Path) -> ScientistHome:
        """Open an existing home. Raises SettingsError that says what to do."""
        root = Path(root).resolve()
        file = root / "scientist.toml"
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls(root, ScientistSettings(**values))
        except FileNotFoundError:
            raise SettingsError(
                f"expected a study desk in {root}, found no scientist.toml. "
                "Make one with `toyfed study init --home DIR`, or name the right folder."
            ) from None
        except (ValueError, TypeError, RecursionError, IsADirectoryError, PermissionError) as error:
            raise SettingsError(f"{file} is not usable: {error}. Mend it.") from None

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.csv"

    def study(self, name: str) -> Path:
        """The folder of a study, whether it exists or not. Raises SettingsError on a bad name."""
        try:
            return self.studies / safe_name(name)
        except ValueError as error:
            raise SettingsError(f"the study's name: {error}") from None

    def names(self) -> list[str]:
        """Names of the studies here, in order."""
        return sorted(path.parent.name for path in self.studies.glob("*/study.toml"))


def paired_merchants(home: ScientistHome) -> list[str]:
    """Merchants whose keys are pinned here, from the private peer list alone.

    Raises SettingsError if the list is damaged.
    """
    from datasites.syftbox.peers import PeerBook

    return PeerBook(home.root / "private" / "keys" / "peers.json").accepted()
