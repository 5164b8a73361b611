"""What was released and how it was noised: the rows of every privacy ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from recsys.errors import PrivacyError
from recsys.privacy._validate import (
    require_between,
    require_count,
    require_fraction,
    require_positive,
    require_text,
)

__all__ = [
    "MOST_STEPS",
    "Budget",
    "GaussianEvent",
    "PrivacyEvent",
    "PrivacyUnit",
    "SubsampledGaussianEvent",
    "event_from_dict",
]

MOST_STEPS = 1_000_000
"""Most steps of one subsampled event; composing more has no use and a cost of its own."""


class PrivacyUnit(StrEnum):
    """Whose presence a guarantee hides; neighbouring data differ by adding or removing one."""

    SHOPPER = "shopper"


@dataclass(frozen=True)
class GaussianEvent:
    """One release of a sum with Gaussian noise: mu = sensitivity / sigma.

    Args:
        what: name of the released sum, for people who read the ledger.
        sensitivity: L2 norm of the largest change that one shopper can make, same unit as sigma.
        sigma: standard deviation of the noise in every coordinate.

    Raises:
        PrivacyError: a sensitivity or sigma that is not a positive finite number.

    Source: Dong, Roth, Su, Gaussian differential privacy, JRSS-B 2022.
    """

    what: str
    sensitivity: float
    sigma: float

    def __post_init__(self) -> None:
        require_text("what", self.what)
        require_positive("sensitivity", self.sensitivity)
        require_positive("sigma", self.sigma)

    @property
    def mu(self) -> float:
        """Privacy loss of this release alone, as a Gaussian-DP parameter."""
        return self.sensitivity / self.sigma

    def in_words(self) -> str:
        """The noise as merchants read it before they approve."""
        return f"sigma {self.sigma:.4g} at sensitivity {self.sensitivity:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `event_from_dict` reads it back."""
        return {
            "type": "gaussian",
            "what": self.what,
            "sensitivity": self.sensitivity,
            "sigma": self.sigma,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> GaussianEvent:
        """Read the JSON form back; every key is needed and no other is allowed."""
        _require_keys(row, "gaussian", {"type", "what", "sensitivity", "sigma"})
        return cls(row["what"], row["sensitivity"], row["sigma"])


@dataclass(frozen=True)
class SubsampledGaussianEvent:
    """Steps of DP-SGD: each noises a sum over a Poisson sample of the shoppers.

    In each step every shopper takes part with probability q, independently of all others and of
    the other steps, and the sum of clipped gradients gets noise of `noise_multiplier` times the
    clipping bound. Every step's sum counts as released, also where only the last model is.

    Args:
        what: name of what was trained, for people who read the ledger.
        noise_multiplier: z, standard deviation of the noise over the L2 bound of one shopper.
        sampling_rate: q, above 0 and at most 1; at 1 a step is a full-batch Gaussian release.
        steps: how many, 1 to a million.

    Raises:
        PrivacyError: a setting outside these bounds.

    Source: Abadi et al., Deep learning with differential privacy, CCS 2016.
    """

    what: str
    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        require_text("what", self.what)
        require_positive("noise_multiplier", self.noise_multiplier)
        require_positive("sampling_rate", self.sampling_rate)
        require_between("sampling_rate", self.sampling_rate, 0.0, 1.0)
        require_count("steps", self.steps)
        require_between("steps", self.steps, 1, MOST_STEPS)

    def in_words(self) -> str:
        """The noise as merchants read it before they approve."""
        plural = "" if self.steps == 1 else "s"
        return (
            f"sigma {self.noise_multiplier:.4g} times the clipping bound in each of "
            f"{self.steps:,} step{plural}, {100 * self.sampling_rate:.3g}% of shoppers sampled"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `event_from_dict` reads it back."""
        return {
            "type": "subsampled_gaussian",
            "what": self.what,
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "steps": self.steps,
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> SubsampledGaussianEvent:
        """Read the JSON form back; every key is needed and no other is allowed."""
        keys = {"type", "what", "noise_multiplier", "sampling_rate", "steps"}
        _require_keys(row, "subsampled_gaussian", keys)
        return cls(row["what"], row["noise_multiplier"], row["sampling_rate"], row["steps"])


PrivacyEvent: TypeAlias = GaussianEvent | SubsampledGaussianEvent
"""What a ledger can hold: every kind whose cost this release can compute."""


def event_from_dict(row: Mapping[str, Any]) -> PrivacyEvent:
    """Read any known event from its JSON form.

    Raises:
        PrivacyError: an unknown type; its cost is never guessed.
    """
    if row.get("type") == "gaussian":
        return GaussianEvent.from_dict(row)
    if row.get("type") == "subsampled_gaussian":
        return SubsampledGaussianEvent.from_dict(row)
    raise PrivacyError(
        "Expected an event of type 'gaussian' or 'subsampled_gaussian', "
        f"found {row.get('type')!r}; its cost is unknown, so update ToyFed or refuse the release."
    )


def _require_keys(row: Mapping[str, Any], kind: str, keys: set[str]) -> None:
    if set(row) != keys or row["type"] != kind:
        raise PrivacyError(
            f"Expected a {kind} event with the keys {sorted(keys)}, "
            f"found the keys {sorted(map(str, row))} and type {row.get('type')!r}; "
            "refuse the release that it came with."
        )


@dataclass(frozen=True)
class Budget:
    """The most that may be learned about one protected unit: (epsilon, delta)-DP.

    Args:
        epsilon: positive and finite.
        delta: strictly between 0 and 1; far below one over the number of shoppers.
        unit: whose presence is hidden.
    """

    epsilon: float
    delta: float
    unit: PrivacyUnit = PrivacyUnit.SHOPPER

    def __post_init__(self) -> None:
        require_positive("epsilon", self.epsilon)
        require_fraction("delta", self.delta)
        if not isinstance(self.unit, PrivacyUnit):
            raise PrivacyError(
                f"Expected unit to be one of {[str(unit) for unit in PrivacyUnit]}, "
                f"found {self.unit!r}."
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {"epsilon": self.epsilon, "delta": self.delta, "unit": str(self.unit)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Budget:
        """Read the JSON form back."""
        if set(row) != {"epsilon", "delta", "unit"} or row["unit"] not in list(PrivacyUnit):
            raise PrivacyError(
                "Expected a budget with epsilon, delta and a known unit, "
                f"found the keys {sorted(map(str, row))} and unit {row.get('unit')!r}."
            )
        return cls(row["epsilon"], row["delta"], PrivacyUnit(row["unit"]))
