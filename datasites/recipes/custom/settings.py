"""[model] of a custom study: what each phase sums up, how long a row may be, what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from datasites.errors import SettingsError
from datasites.protocol import ArraySpec, Phase, safe_name
from datasites.wrong_settings import wrong_settings
from recsys.privacy import GaussianEvent, split_budget

if TYPE_CHECKING:
    from datasites.merchant.contributions import RowArray, RowLimits
    from recsys.privacy import Budget

__all__ = ["EXAMPLE", "CustomSettings"]

_MOST_NUMBERS = 2_000_000  # 16 MB a row: its copies must not decide whether memory suffices
_Size = Annotated[int, Field(ge=1, le=5_000_000)] | Literal["toys"]

EXAMPLE: dict[str, Any] = {
    "program": {"factors": 16, "window": 5, "seed": 0},
    "phases": [
        {"name": "counts", "weight": 1.0, "clip": 1.0, "arrays": {"item_counts": ["toys"]}},
        {"name": "pairs", "weight": 4.0, "clip": 1.0, "arrays": {"item_sums": ["toys", 16]}},
    ],
}
"""The settings that belong to the example program."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomPhase(_Strict):
    """One pass over the shoppers.

    Args:
        name: of the phase.
        weight: its share of the budget, as a share of mu^2.
        clip: C, the L2 norm at which a shopper's whole row is cut.
        arrays: name -> shape; 'toys' stands for the number of toys.
    """

    name: str
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    clip: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    arrays: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")],
            Annotated[tuple[_Size, ...], Field(min_length=1, max_length=4)],
        ],
        Field(min_length=1, max_length=16),
    ]

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return safe_name(value)


class CustomSettings(_Strict):
    """The whole of [model].

    Args:
        phases: in order.
        program: what `contribution` gets as its settings.
        milliseconds: processor time for one shopper.
        memory_mb: memory for one shopper.
        alpha, regularization: of serving the embeddings, see `SharedEmbeddings`.
    """

    phases: Annotated[tuple[CustomPhase, ...], Field(min_length=1, max_length=64)]
    program: dict[str, Any] = {}
    milliseconds: Annotated[int, Field(ge=10, le=2000)] = 100
    memory_mb: Annotated[int, Field(ge=64, le=2048)] = 512
    alpha: Annotated[float, Field(ge=0, le=1e6)] = 2.0
    regularization: Annotated[float, Field(gt=0, le=1e6)] = 0.01

    @classmethod
    def read(cls, model: dict[str, Any]) -> CustomSettings:
        """Check [model]; an empty one is the example's. Raises SettingsError."""
        try:
            found = cls(**(model or EXAMPLE))
        except ValidationError as error:
            raise SettingsError(f"[model] of custom: {wrong_settings(error)}") from None
        if len({phase.name for phase in found.phases}) != len(found.phases):
            raise SettingsError("[model] of custom: expected phases of different names")
        return found

    def arrays(self, phase: str, n_items: int) -> list[RowArray]:
        """What a row of a phase is made of, with 'toys' filled in. Raises SettingsError."""
        from datasites.merchant.contributions import RowArray

        for one in self.phases:
            if one.name == phase:
                found = [
                    RowArray(name, tuple(n_items if size == "toys" else size for size in shape))
                    for name, shape in one.arrays.items()
                ]
                if sum(array.size for array in found) > _MOST_NUMBERS:
                    raise SettingsError(
                        f"[model] of custom: expected at most {_MOST_NUMBERS} numbers in a row of "
                        f"'{phase}', found {sum(array.size for array in found)}. Use fewer factors"
                    )
                return found
        raise SettingsError(f"[model] of custom: expected a phase that it lists, found '{phase}'")

    def limits(self) -> RowLimits:
        """What the program may use for one shopper."""
        from datasites.merchant.contributions import RowLimits

        return RowLimits(self.milliseconds, self.memory_mb)

    def phases_for(self, budget: Budget, n_items: int) -> tuple[Phase, ...]:
        """Every phase with its outputs and its one event: a sum of rows of length C at most."""
        shares = split_budget(budget, {one.name: one.weight for one in self.phases})
        return tuple(
            Phase(
                name=one.name,
                outputs=tuple(
                    ArraySpec(name=array.name, shape=array.shape, dtype="float32")
                    for array in self.arrays(one.name, n_items)
                ),
                events=(
                    GaussianEvent(
                        one.name, one.clip, math.nextafter(one.clip / shares[one.name], math.inf)
                    ).to_dict(),
                ),
            )
            for one in self.phases
        )
