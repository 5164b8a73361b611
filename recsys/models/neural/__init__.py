"""A two-tower network trained with DP-SGD; only `train_locally`'s module imports torch."""

from recsys.models.neural.features import ToyFeatures, toy_features
from recsys.models.neural.model import TwoTower
from recsys.models.neural.settings import NeuralSettings
from recsys.models.neural.weights import (
    flatten,
    initial_weights,
    n_weights,
    unflatten,
)

__all__ = [
    "NeuralSettings",
    "ToyFeatures",
    "TwoTower",
    "flatten",
    "initial_weights",
    "n_weights",
    "toy_features",
    "unflatten",
]
