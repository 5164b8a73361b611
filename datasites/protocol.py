"""The messages between a data scientist and a merchant, as they travel in a job's parameters.

A *proposal* asks for a study: code, settings, and every phase with what it would release and
what that costs. After the merchant's approval, *rounds* run single phases of it, and a *result*
brings the finished model. Everything here is checked on arrival: pydantic, nothing extra.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from datasites.errors import ReviewError
from recsys.errors import PrivacyError
from recsys.privacy import GaussianEvent, PrivacyEvent, event_from_dict

__all__ = [
    "ArraySpec",
    "Message",
    "Phase",
    "Proposal",
    "Result",
    "Round",
    "StateRef",
    "canonical_json",
    "parse_message",
    "safe_name",
    "sha256_of",
]

_MOST_BYTES = 1 << 20
MOST_RELEASE_BYTES = 120 << 20
"""Arrays of one phase: sealed they have to fit an answer of 128 MB."""
_LEAST_MU, _MOST_MU = 1e-9, 1e3
_LEAST_RATE = 1e-6
_MOST_KINDS_OF_STEPS = 16  # each takes the merchant up to a second to account for
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")


def safe_name(value: str) -> str:
    """Return `value` if it can name a study, a phase or an array's file; else raise ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            "expected 1 to 48 lower-case letters, digits and inner hyphens, such as 'toys-2026'; "
            f"found {value[:60]!r}"
        )
    return value


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no blanks. What hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_range(event: PrivacyEvent) -> None:
    """Figures that no study needs are refused before anything is computed with them."""
    if isinstance(event, GaussianEvent):
        mu, rate = event.mu, 1.0
    else:
        mu, rate = 1 / event.noise_multiplier, event.sampling_rate
    if not _LEAST_MU <= mu <= _MOST_MU:
        raise ValueError(f"expected a mu from {_LEAST_MU:g} to {_MOST_MU:g} each")
    if rate < _LEAST_RATE:
        raise ValueError(f"expected a sampling rate of {_LEAST_RATE:g} or more")


class ArraySpec(_Strict):
    """One released array: its name, shape and dtype. The release gate holds the code to it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=100_000_000)], ...], Field(max_length=4)]
    dtype: Literal["float32", "float64", "int64"]

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * (4 if self.dtype == "float32" else 8)


class Phase(_Strict):
    """One run at each merchant: what it releases and the privacy events that this costs."""

    name: str
    outputs: Annotated[tuple[ArraySpec, ...], Field(min_length=1, max_length=16)]
    events: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=16)]

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return safe_name(value)

    @field_validator("outputs")
    @classmethod
    def _outputs(cls, value: tuple[ArraySpec, ...]) -> tuple[ArraySpec, ...]:
        if len({spec.name for spec in value}) != len(value):
            raise ValueError("expected arrays of different names; two share one")
        size = sum(spec.nbytes for spec in value)
        if size > MOST_RELEASE_BYTES:
            raise ValueError(
                f"expected at most {MOST_RELEASE_BYTES >> 20} MB of arrays in one phase, which is "
                f"what an answer carries; found {-(-size >> 20)} MB. Take fewer factors, or "
                "release embeddings instead of statistics"
            )
        return value

    @field_validator("events")
    @classmethod
    def _events(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        try:
            for row in value:
                _check_range(event_from_dict(row))
        except (PrivacyError, TypeError, ArithmeticError) as error:
            raise ValueError(str(error)) from None
        return value

    def privacy_events(self) -> list[PrivacyEvent]:
        """The events as objects."""
        return [event_from_dict(event) for event in self.events]


class StateRef(_Strict):
    """An encrypted collection that holds the arrays a phase starts from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,95}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Proposal(_Strict):
    """A study as a merchant is asked to approve it. Its sha256 binds all that follows."""

    kind: Literal["proposal"] = "proposal"
    study: str
    recipe: str
    settings: dict[str, Any]
    catalogue: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    n_items: Annotated[int, Field(gt=0, le=5_000_000)]
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    unit: Literal["shopper"] = "shopper"
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=512)]

    @field_validator("study", "recipe")
    @classmethod
    def _names(cls, value: str) -> str:
        return safe_name(value)

    @field_validator("phases")
    @classmethod
    def _phases(cls, value: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if len({phase.name for phase in value}) != len(value):
            raise ValueError("expected phases of different names; two share one")
        kinds = {
            (event.noise_multiplier, event.sampling_rate)
            for phase in value
            for event in phase.privacy_events()
            if not isinstance(event, GaussianEvent)
        }
        if len(kinds) > _MOST_KINDS_OF_STEPS:
            raise ValueError(
                f"expected at most {_MOST_KINDS_OF_STEPS} different kinds of subsampled steps, "
                f"found {len(kinds)}"
            )
        return value

    @property
    def sha256(self) -> str:
        return sha256_of(self.model_dump(mode="json"))

    def phase(self, name: str) -> Phase:
        """The phase of that name. Raises ReviewError if the proposal has none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise ReviewError(
            f"the study '{self.study}' has no phase '{name}': it was approved for "
            f"{', '.join(phase.name for phase in self.phases)}"
        )

    def events(self) -> list[PrivacyEvent]:
        """Every event of every phase, in order."""
        return [event for phase in self.phases for event in phase.privacy_events()]


class _OfStudy(_Strict):
    study: str

    # The name becomes a folder's at the merchant: a path must not pass.
    @field_validator("study")
    @classmethod
    def _study(cls, value: str) -> str:
        return safe_name(value)


class Round(_OfStudy):
    """Run one phase of an approved study."""

    kind: Literal["round"] = "round"
    phase: str
    proposal_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    state: StateRef | None = None


class Result(_OfStudy):
    """The finished model of a study: to be verified, stored and served."""

    kind: Literal["result"] = "result"
    proposal_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    state: StateRef


Message = Annotated[Proposal | Round | Result, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Proposal | Round | Result] = TypeAdapter(Message)


def parse_message(params: dict[str, Any]) -> Proposal | Round | Result:
    """Check a job's parameters. Raises ReviewError that says what is wrong and where."""
    try:
        size = len(json.dumps(params, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, TypeError, RecursionError):
        raise ReviewError("expected a message of plain JSON, found other values in it") from None
    if size > _MOST_BYTES:
        raise ReviewError(f"expected a message of at most {_MOST_BYTES} bytes, found {size}")
    try:
        return _ADAPTER.validate_python(params)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the message"
        raise ReviewError(
            f"expected a proposal, round or result of ToyFed's protocol; {where}: {first['msg']}. "
            "Submit with `toyfed study submit`."
        ) from None
