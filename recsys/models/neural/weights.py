"""The network's weights: their names, shapes, beginnings, and the flat array that travels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.models.neural.features import BLOCKS
from recsys.models.neural.settings import NeuralSettings

__all__ = [
    "CALM",
    "DECAYS",
    "LARGEST",
    "N_SIGNALS",
    "RESIDUALS",
    "checked_popularity",
    "flatten",
    "initial_weights",
    "n_weights",
    "unflatten",
]

Float = npt.NDArray[np.float64]
Weights = dict[str, Float]

DECAYS = (0.0, 0.5, 0.9)
"""Weight of a purchase relative to the next newer one: the newest alone, content's, slow."""

N_SIGNALS = len(BLOCKS) * len(DECAYS) + 1
"""Similarities of a toy to a history, block by block and decay by decay, then popularity."""

RESIDUALS = "toy_residuals"
_CONTENT = BLOCKS.index("text") * len(DECAYS) + DECAYS.index(0.5)
CALM = 0.1
"""Factor of the learned part of the score, which has many weights: a step of Adam moves each of
them alike, and must not move their sum more than a single gain."""

LARGEST = 8.0
"""Largest weight, and largest number of an embedding; what is learned stays far below it.

The state may come from anybody. With large weights that cancel, scores would be decided by
rounding, which depends on how many shoppers stand in one product: one shopper more would change the
gradients of all others. With these bounds rounding stays a millionth of what is clipped to."""
LARGEST_POPULARITY = 100.0


def _shapes(settings: NeuralSettings, n_items: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "sharpness": (1,),
        "gains": (N_SIGNALS,),
        "item_hidden": (settings.hidden, settings.features),
        "item_out": (settings.factors, settings.hidden),
        "shopper": (settings.factors, 2 * settings.factors),
    }
    return shapes | {RESIDUALS: (n_items, settings.factors)} if settings.toy_residuals else shapes


def n_weights(settings: NeuralSettings, n_items: int) -> int:
    """Numbers in the flat array that travels."""
    return sum(math.prod(shape) for shape in _shapes(settings, n_items).values())


def initial_weights(settings: NeuralSettings, n_items: int) -> Weights:
    """Weights before round 1: the network that recommends exactly as content similarity does.

    The shopper tower's layer is 0, so the learned embeddings play no part yet, and the gains are
    1 for the similarity of texts and 0 for everything else.
    """
    rng = np.random.default_rng(settings.seed)
    weights = {name: np.zeros(shape) for name, shape in _shapes(settings, n_items).items()}
    weights["gains"][_CONTENT] = 1.0
    # Features have length 1, hidden units about 1: embeddings begin with a length of about 1.
    weights["item_hidden"] = rng.standard_normal((settings.hidden, settings.features))
    spread = 1 / math.sqrt(settings.hidden * settings.factors)
    weights["item_out"] = rng.standard_normal((settings.factors, settings.hidden)) * spread
    return weights


def flatten(weights: Mapping[str, Float]) -> npt.NDArray[np.float32]:
    """The weights as one array, float32 [n_weights]."""
    return np.concatenate([array.ravel() for array in weights.values()]).astype(np.float32)


def unflatten(network: npt.NDArray[np.floating], settings: NeuralSettings, n_items: int) -> Weights:
    """Weights by name, within +-`LARGEST`: they may come from anybody.

    Raises:
        ModelError: another number of weights, or one that is not finite.
    """
    expected = n_weights(settings, n_items)
    if network.shape != (expected,) or not np.isfinite(network).all():
        raise ModelError(
            f"Expected {expected} finite weights for {n_items} toys, found shape "
            f"{network.shape} or others; use the array that the study published."
        )
    bounded = np.clip(np.asarray(network, dtype=np.float64), -LARGEST, LARGEST)
    weights, start = {}, 0
    for name, shape in _shapes(settings, n_items).items():
        size = math.prod(shape)
        weights[name] = bounded[start : start + size].reshape(shape)
        start += size
    return weights


def checked_popularity(popularity: npt.NDArray[np.floating], n_items: int) -> Float:
    """What is known of the toys' popularity within +-100, float64 [n_items].

    It comes from whoever runs the study. One toy's number that is none would make the gradient of
    every shopper who bought that toy none, and so a run end in an error because of one shopper.

    Raises:
        ModelError: another shape, or a number that is not finite.
    """
    if popularity.shape != (n_items,) or not np.isfinite(popularity).all():
        raise ModelError(
            f"Expected one finite popularity for each of {n_items} toys, found shape "
            f"{popularity.shape} or others; use the arrays that the study published."
        )
    bounded = np.asarray(popularity, dtype=np.float64)
    return np.clip(bounded, -LARGEST_POPULARITY, LARGEST_POPULARITY)
