"""What the pages show: a small JSON file of paths, named by an environment variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from datasites.errors import SettingsError
from datasites.merchant.home import MerchantHome
from datasites.wrong_settings import wrong_settings
from recsys.files import atomic_write_text

__all__ = [
    "MANIFEST_VARIABLE",
    "Manifest",
    "current_manifest",
    "read_manifest",
    "write_manifest",
]

MANIFEST_VARIABLE = "TOYFED_MARKETPLACE"


class Manifest(BaseModel):
    """Where the marketplace lies: homes of the merchants on this machine, and a report.

    Args:
        merchants: home folders of merchants, at least one for the pages to be of use.
        scientist: the data scientist's home, where it is on this machine too.
        study: the study whose model the shops serve, where there is one.
        report: a report file as `toyfed demo --report` writes it.
        simulation: True where all merchants live on one machine only to show how it works.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    merchants: tuple[Path, ...] = ()
    scientist: Path | None = None
    study: str | None = None
    report: Path | None = None
    simulation: bool = False

    def names(self) -> dict[str, Path]:
        """Home folder by shop name as people see it; shops of one name are numbered."""
        found: dict[str, Path] = {}
        for root in self.merchants:
            try:
                name = MerchantHome.open(root).settings.name
            except (SettingsError, ValueError, OSError):
                # Still listed, so that its page can say what is wrong with it.
                name = root.name
            label, number = name, 2
            while label in found:
                label, number = f"{name} ({number})", number + 1
            found[label] = root
        return found


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, or the one in a folder; relative paths in it start at its own folder.

    Raises: SettingsError if it is missing or not a manifest.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "marketplace.json"
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(
            f"expected a marketplace manifest in {path}, found no such file. "
            "Name the right one with `toyfed web --marketplace FILE`."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        details = wrong_settings(error) if isinstance(error, ValidationError) else str(error)
        raise SettingsError(f"{path} is not a marketplace manifest: {details}. Mend it.") from None
    base = path.resolve().parent
    return manifest.model_copy(
        update={
            "merchants": tuple(base / root for root in manifest.merchants),
            "scientist": base / manifest.scientist if manifest.scientist else None,
            "report": base / manifest.report if manifest.report else None,
        }
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all, for its owner's eyes only."""
    atomic_write_text(Path(path), manifest.model_dump_json(indent=1), mode=0o600)


def current_manifest() -> Manifest:
    """The manifest that this server was started with.

    Raises: SettingsError if none was named, or it cannot be used.
    """
    path = os.environ.get(MANIFEST_VARIABLE)
    if not path:
        raise SettingsError(
            "expected a marketplace to show, found none. "
            "Start with `toyfed web --datasite HOME`, or try `toyfed demo`."
        )
    return read_manifest(Path(path))
