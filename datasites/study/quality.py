"""How good a study's models are, as merchants released it, with what the noise leaves open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from datasites.recipes.private_als.recipe import QUALITY_FIGURES
from recsys.privacy import GaussianEvent

if TYPE_CHECKING:
    from datasites.protocol import Proposal

__all__ = ["Figure", "figures_of", "noise_of", "released_quality"]

_TWO_SIDED_95 = 1.96
_PHASE = "quality"


@dataclass(frozen=True)
class Figure:
    """A mean over all shoppers of all merchants that released it, on their `valid` splits.

    Args:
        name: such as 'shared ndcg@10'.
        mean: as released.
        margin: half the width of the 95 % interval that the noise alone leaves; how shoppers
            differ from each other is not in it.
    """

    name: str
    mean: float
    margin: float


def figures_of(released: Sequence[npt.NDArray[np.float64]], sigma: float) -> list[Figure]:
    """Add up what merchants released.

    Args:
        released: of each merchant, float64 [k + 1]: k sums of figures and the number of shoppers.
        sigma: standard deviation of the noise on each number.

    Privacy: post-processing of what was booked; costs nothing more.
    """
    if not released:
        return []
    total = np.sum(released, axis=0)
    shoppers = max(1.0, float(total[-1]))
    spread = _TWO_SIDED_95 * sigma * math.sqrt(len(released)) / shoppers
    found = []
    for name, value in zip(QUALITY_FIGURES, total, strict=False):
        mean = float(value) / shoppers
        # Figures are summed less one half each, and the number that they are divided by is
        # noised too.
        found.append(Figure(name, mean, spread * math.hypot(1.0, mean - 0.5)))
    return found


def noise_of(proposal: Proposal) -> float:
    """Standard deviation of the noise on each released figure; 0 where none is released."""
    for phase in proposal.phases:
        if phase.name == _PHASE:
            (event,) = phase.privacy_events()
            return event.sigma if isinstance(event, GaussianEvent) else 0.0
    return 0.0


def released_quality(folder: Path, proposal: Proposal) -> list[Figure]:
    """The figures of a study's folder; empty where no merchant released any (yet)."""
    released = []
    for file in sorted((folder / "updates" / _PHASE).glob("*.safetensors")):
        try:
            arrays = load(file.read_bytes())
            released.append(np.append(arrays["quality_sums"], arrays["shopper_count"]))
        except (OSError, SafetensorError, KeyError):
            continue
    return figures_of(released, noise_of(proposal))
