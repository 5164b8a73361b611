"""What one merchant sends back from a round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.privacy import PrivacyEvent

__all__ = ["Update"]


@dataclass(frozen=True, eq=False)
class Update:
    """Named arrays of one merchant, its weight in averages, and what they cost in privacy.

    Args:
        arrays: name -> array of finite numbers.
        weight: 0 or more; public or noised (a noised number of shoppers), never a true count.
        events: everything that was released with noise to make the arrays and the weight.
        merchant: public name.

    Raises:
        ModelError: an array with a number that is not finite, or an impossible weight.

    Privacy: holds released values only; all that is done with them is post-processing, free.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    weight: float
    events: Sequence[PrivacyEvent] = field(default_factory=tuple)
    merchant: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ModelError(
                f"Expected the weight of {self.merchant!r} to be finite and 0 or more, "
                f"found {self.weight!r}; send max(1, noised number of shoppers)."
            )
        for name, array in self.arrays.items():
            if not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
                raise ModelError(
                    f"Expected finite numbers in {name!r} of {self.merchant!r}, found others; "
                    "leave this merchant out of the round."
                )
