"""A merchant's home folder: settings, private files, and where everything lies.

home/
  merchant.toml          name, e-mail, share, privacy budget, limits
  private/  (0700)       nothing below is ever synced
    keys/                keys and pinned peers
    ledger.sqlite        the privacy ledger (and ledger.head)
    data/                shop.parquet, catalogue.parquet, quality of the last reading
    requests/STUDY/      code, proposal and findings of each request
    runs/JOB/            log, outcome and release of each run
    models/STUDY/        verified artefacts
    serving/             what the shop pages read
  syftbox/               PySyft's folder: what peers may see goes through here
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datasites.errors import SettingsError
from datasites.wrong_settings import wrong_settings
from recsys.files import atomic_write_text

__all__ = ["MerchantHome", "MerchantSettings"]


class MerchantSettings(BaseModel):
    """What `merchant.toml` holds. None of it is secret, none of it depends on shoppers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=60)]
    email: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$", max_length=120)]
    share: str
    epsilon: Annotated[float, Field(gt=0, le=100)] = 1.0
    delta: Annotated[float, Field(gt=0, lt=0.1)] = 1e-5
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 0.5
    memory_mb: Annotated[int, Field(ge=256)] = 2048
    wall_seconds: Annotated[int, Field(ge=1)] = 900
    unsafe_no_sandbox: bool = False
    head_copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class MerchantHome:
    """One merchant's installation on this machine."""

    root: Path
    settings: MerchantSettings

    @classmethod
    def create(cls, root: Path, settings: MerchantSettings) -> MerchantHome:
        """Make the folder. Raises SettingsError if it is already a merchant's home."""
        root = Path(root).resolve()
        if (root / "merchant.toml").exists():
            raise SettingsError(
                f"expected an empty place for a new datasite; {root} is one already. "
                "Use it as it is, or choose another folder with --home."
            )
        home = cls(root, settings)
        root.mkdir(parents=True, exist_ok=True)
        home.private.mkdir(mode=0o700, exist_ok=True)
        os.chmod(home.private, 0o700)
        for folder in (home.data, home.requests, home.runs, home.models, home.serving):
            folder.mkdir(exist_ok=True)
        atomic_write_text(root / "merchant.toml", tomli_w.dumps(settings.model_dump()))
        return home

    @classmethod
    def open(cls, root: Path) -> MerchantHome:
        """Open an existing home. Raises SettingsError that says what to do."""
        root = Path(root).resolve()
        file = root / "merchant.toml"
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls(root, MerchantSettings(**values))
        except FileNotFoundError:
            raise SettingsError(
                f"expected a datasite in {root}, found no merchant.toml. "
                "Make one with `toyfed datasite init --home DIR`, or name the right folder."
            ) from None
        except ValidationError as error:
            raise SettingsError(
                f"expected a merchant's settings in {file}, found: {wrong_settings(error)}. "
                "Mend them there."
            ) from None
        except TypeError as error:
            raise SettingsError(f"{file} does not hold a merchant's settings: {error}") from None
        except (ValueError, RecursionError, IsADirectoryError, PermissionError) as error:
            raise SettingsError(
                f"{file} is not readable as TOML: {error}. Mend that line."
            ) from None

    @property
    def private(self) -> Path:
        return self.root / "private"

    @property
    def data(self) -> Path:
        return self.private / "data"

    @property
    def requests(self) -> Path:
        return self.private / "requests"

    @property
    def runs(self) -> Path:
        return self.private / "runs"

    @property
    def models(self) -> Path:
        return self.private / "models"

    @property
    def serving(self) -> Path:
        return self.private / "serving"

    @property
    def ledger_path(self) -> Path:
        return self.private / "ledger.sqlite"

    @property
    def heartbeat(self) -> Path:
        return self.private / "service.json"
