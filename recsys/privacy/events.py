"""What was released and how it was noised: the rows of every privacy ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_fraction, require_positive, require_text

__all__ = ["Budget", "GaussianEvent", "PrivacyUnit", "event_from_dict"]


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
        expected = {"type", "what", "sensitivity", "sigma"}
        if set(row) != expected or row["type"] != "gaussian":
            raise PrivacyError(
                f"Expected a gaussian event with the keys {sorted(expected)}, "
                f"found the keys {sorted(map(str, row))} and type {row.get('type')!r}; "
                "refuse the release that it came with."
            )
        return cls(row["what"], row["sensitivity"], row["sigma"])


def event_from_dict(row: Mapping[str, Any]) -> GaussianEvent:
    """Read any known event from its JSON form.

    Raises:
        PrivacyError: an unknown type; its cost is never guessed.
    """
    if row.get("type") == "gaussian":
        return GaussianEvent.from_dict(row)
    raise PrivacyError(
        f"Expected an event of type 'gaussian', found {row.get('type')!r}; its cost is unknown, "
        "so update ToyFed or refuse the release."
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
