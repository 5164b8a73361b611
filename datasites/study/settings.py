"""study.toml: what a data scientist asks for, in one readable file.

[study]
name = "toys-2026"
recipe = "private-als"
merchants = ["castle@toyfed.local", "harbour@toyfed.local"]

[privacy]
unit = "shopper"
epsilon = 1.0
delta = 1e-5

[model]            # the recipe's own settings, each with a sensible default
rounds = 3

[federation]
merge = "support"  # one of recsys.federation.merge_names()
patience_seconds = 600.0
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from datasites.errors import SettingsError
from datasites.protocol import safe_name
from datasites.wrong_settings import wrong_settings
from recsys.federation import DEFAULT_MERGE, merge_named, merge_names
from recsys.files import atomic_write_text
from recsys.privacy import Budget

__all__ = ["Federation", "Privacy", "StudySection", "StudySettings", "parse_study"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudySection(_Section):
    """Who takes part in what."""

    name: str
    recipe: str = "private-als"
    merchants: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return safe_name(value)

    @field_validator("merchants")
    @classmethod
    def _merchants(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("expected each merchant once; one is named twice")
        return value


class Privacy(_Section):
    """The guarantee that each merchant's shoppers get from everything this study releases."""

    unit: Literal["shopper"] = "shopper"
    epsilon: Annotated[float, Field(gt=0, le=100)] = 1.0
    delta: Annotated[float, Field(gt=0, lt=0.1)] = 1e-5

    def budget(self) -> Budget:
        return Budget(epsilon=self.epsilon, delta=self.delta)


class Federation(_Section):
    """How updates are merged. Changes nothing about privacy."""

    merge: str = DEFAULT_MERGE
    patience_seconds: Annotated[float, Field(gt=0, le=7 * 86400)] = 600.0

    @field_validator("merge")
    @classmethod
    def _merge(cls, value: str) -> str:
        if value not in merge_names():
            raise ValueError(f"expected one of {', '.join(merge_names())}; found '{value}'")
        return value


class StudySettings(_Section):
    """The whole of study.toml."""

    study: StudySection
    privacy: Privacy = Privacy()
    model: dict[str, Any] = {}
    federation: Federation = Federation()

    @model_validator(mode="after")
    def _release_fits_merge(self) -> StudySettings:
        """Sums can only be added up where merchants release sums: found out before they do."""
        if merge_named(self.federation.merge).sums:
            self.model.setdefault("release", "statistics")
        sums = self.model.get("release") == "statistics"
        if merge_named(self.federation.merge).sums != sums:
            raise ValueError(
                "expected merge = 'statistics' together with release = 'statistics' in [model], "
                f"found merge = '{self.federation.merge}' and release = "
                f"'{self.model.get('release', 'embeddings')}'"
            )
        return self

    @classmethod
    def read(cls, path: Path) -> StudySettings:
        """Read study.toml. Raises SettingsError naming the line or the setting."""
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(
                f"expected a study in {path}, found no such file. "
                "Start one with `toyfed study new NAME -m MERCHANT`."
            ) from None
        except (ValueError, RecursionError, IsADirectoryError, PermissionError) as error:
            # Numbers of thousands of digits and brackets without end are no TOMLDecodeError.
            raise SettingsError(f"{path} is not readable as TOML: {error}. Mend it.") from None
        return parse_study(values, where=str(path))

    def write(self, path: Path) -> None:
        """Write study.toml, whole or not at all."""
        atomic_write_text(Path(path), tomli_w.dumps(self.model_dump(mode="json")))


def parse_study(values: dict[str, Any], where: str = "") -> StudySettings:
    """Check a study's settings. Raises SettingsError that names each wrong one."""
    try:
        return StudySettings(**values)
    except ValidationError as error:
        details = wrong_settings(error)
    except TypeError as error:
        details = str(error)
    place, advice = (f" in {where}", "Mend them there.") if where else ("", "Choose others.")
    raise SettingsError(
        f"expected the settings of a study{place}, found: {details}. {advice}"
    ) from None
