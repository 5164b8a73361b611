"""A hostile state: weights that cancel, so that rounding would decide every shopper's gradient.

How a product of many rows is rounded depends on how many there are, and on the processor: the sums
are made in processes that use the instructions of older ones, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping

from recsys.data.interactions import Interactions
from recsys.models.neural import NeuralSettings, initial_weights, toy_features
from recsys.models.neural.towers import TwoTowerNetwork
from recsys.models.neural.training import SecureNoiseOptimizer, sum_clipped_gradients
from recsys.models.neural.weights import flatten, unflatten
from tests.contracts.recommenders import toy_catalogue

ROOT = Path(__file__).parents[4]
TOYS, SHOPPERS = 200, 127
SETTINGS = NeuralSettings(sampling_rate=1.0, hidden=256, factors=128, sharpness=100.0)


def hostile_state(scale: float) -> np.ndarray:
    """Half the hidden units are alike for all toys; the others cancel over the directions."""
    rng = np.random.default_rng(0)
    weights = initial_weights(SETTINGS, TOYS)
    half = SETTINGS.hidden // 2
    weights["item_hidden"][:] = 3 * rng.standard_normal(weights["item_hidden"].shape)
    weights["item_hidden"][:half] = 0
    weights["item_hidden"][:half, -15:] = scale
    weights["item_out"][:] = 0
    weights["item_out"][:, :half] = scale * rng.uniform(0.5, 1, (1, half))
    weights["shopper"] = np.tile(
        scale * rng.uniform(0.5, 1, (1, 2 * SETTINGS.factors)), (SETTINGS.factors, 1)
    )
    weights["gains"][:] = 0
    weights["sharpness"][:] = 20
    return flatten(weights)


def largest_change(scale: float) -> float:
    """How far the sum of a step moves, in units of the clip, when one shopper comes along."""
    torch.set_num_threads(1)
    catalogue = toy_catalogue(TOYS, price=[float(n % 7) + 1 for n in range(TOYS)])
    features = toy_features(catalogue, SETTINGS.features)
    weights = unflatten(hostile_state(scale), SETTINGS, TOYS)
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, TOYS, rng.integers(2, 7)).tolist() for _ in range(SHOPPERS)]
    others = rng.choice(TOYS, SETTINGS.negatives, replace=False)

    def summed(histories: list[list[int]]) -> np.ndarray:
        network = TwoTowerNetwork(SETTINGS, weights)
        wrapped = GradSampleModuleFastGradientClipping(
            network, loss_reduction="sum", max_grad_norm=SETTINGS.clip
        )
        still = torch.optim.SGD(wrapped.parameters(), lr=0.0)
        optimizer = SecureNoiseOptimizer(still, None, 1.0, SETTINGS.clip)
        interactions = Interactions.from_lists(histories, TOYS)
        everybody = np.arange(len(histories))
        sum_clipped_gradients(
            wrapped,
            optimizer,
            interactions,
            everybody,
            others,
            features,
            np.zeros(TOYS),
            SETTINGS,
        )
        optimizer.step()
        return np.concatenate([one.grad.numpy().ravel() for one in optimizer.params])

    changed = summed([*lists, list(range(40, 52))]) - summed(lists)
    return float(np.linalg.norm(changed) / SETTINGS.clip)


@pytest.mark.attack
@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["", "AVX2", "SSE4_2"])
@pytest.mark.parametrize("scale", [100.0, 8.0])
def test_rounding_moves_no_other_shoppers_gradient(instructions: str, scale: float) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(scale)],
        env=os.environ | {"MKL_ENABLE_INSTRUCTIONS": instructions, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) <= 1 + 1e-6


@pytest.mark.attack
@pytest.mark.parametrize("clip", [10**20, 10**300, 1e300, 1e-300, 0])
def test_a_clip_that_torch_may_not_take_is_refused_before_anybody_takes_part(clip: float) -> None:
    from recsys.errors import PrivacyError

    with pytest.raises(PrivacyError, match="clip"):
        NeuralSettings(clip=clip)
    assert isinstance(NeuralSettings(clip=2).clip, float)


if __name__ == "__main__":
    print(largest_change(float(sys.argv[1])))
