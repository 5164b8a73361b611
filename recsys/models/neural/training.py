"""DP-SGD of the two towers at one merchant: sample shoppers, clip each one's gradient, add noise.

One sample is one shopper's whole history, so that the guarantee is for shoppers. Sampling and
noise come from the operating system's cryptographic randomness; Opacus's own does not.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.neural.batches import make_batch, pieces_of
from recsys.models.neural.features import ToyFeatures
from recsys.models.neural.settings import NeuralSettings
from recsys.models.neural.towers import TwoTowerNetwork
from recsys.models.neural.weights import N_SIGNALS, Weights, checked_popularity
from recsys.privacy import SecureNoise

__all__ = ["SecureNoiseOptimizer", "train_locally"]

Float = npt.NDArray[np.float64]
_SHOPPERS_AT_ONCE = 128
_NUMBERS_AT_ONCE = 1 << 25  # 256 MB
_THREADS = 1


class SecureNoiseOptimizer(DPOptimizerFastGradientClipping):  # type: ignore[misc]
    """Opacus's optimizer with noise that is fit for release, or none for science.

    All gradients of a step are one release of `SecureNoise`: rounded to a public grid, noised
    from the operating system's randomness, with the sensitivity that rounding adds accounted for.

    Args:
        optimizer: what makes the step from the noised gradient.
        noise: secret source; None adds no noise at all.
        noise_multiplier: sigma / C.
        clip: C.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        noise: SecureNoise | None,
        noise_multiplier: float,
        clip: float,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._noise = noise

    def add_noise(self) -> None:
        """p.grad = sum of clipped gradients + N(0, (sigma C)^2)."""
        if self._noise is None:
            for p in self.params:
                p.grad = p.summed_grad
            return
        release = self._noise.release(
            "gradient",
            self.max_grad_norm,
            self.noise_multiplier * self.max_grad_norm,
            sum(p.numel() for p in self.params),
        )
        for p in self.params:
            p.grad = torch.from_numpy(release.add(p.summed_grad.numpy()))
        release.close()


def train_locally(
    interactions: Interactions,
    features: ToyFeatures,
    popularity: Float,
    weights: Weights,
    settings: NeuralSettings,
    noise_multiplier: float,
    noise: SecureNoise,
    *,
    round_number: int,
    private: bool = True,
) -> Weights:
    """Train the merged weights further on one merchant's shoppers: `settings.steps` steps.

        each shopper takes part with chance q
        g   = sum_i g_i min(1, C / |g_i|) + N(0, (sigma C)^2 I)
        w  <- Adam(w, g)

    Adam's steps do not depend on the scale of g, so the number of shoppers, which is private, is
    needed nowhere. A step whose sample is empty is made of noise alone.

    Args:
        interactions: one merchant's purchases to learn from; may be none.
        features: of the public catalogue.
        popularity: public, float64 [n_items].
        weights: merged and public, see `unflatten`.
        settings: public.
        noise_multiplier: sigma, planned for all rounds.
        noise: secret source of sampling and noise.
        round_number: 1 for the first; chooses the public negatives.
        private: False leaves out the noise, for simulations on public data only.

    Raises:
        ModelError: purchases over another catalogue than the features, or a popularity that is
            not finite. Neither depends on what was bought.

    Privacy: shopper-level, add or remove one: a Poisson-subsampled Gaussian of `noise_multiplier`
    at the rate q, `steps` times; the gradient of one shopper has a norm of at most C.

    Source: Abadi et al., Deep learning with differential privacy, CCS 2016; Bu, Mao, Xu, Scalable
    and efficient training of large convolutional networks with DP (ghost clipping), NeurIPS 2022.
    """
    if interactions.n_items != features.n_items:
        raise ModelError(
            f"Expected purchases over {features.n_items} toys, found {interactions.n_items}."
        )
    popularity = checked_popularity(popularity, features.n_items)
    public = np.random.default_rng([settings.seed, round_number])
    with _bounded_threads():
        network = TwoTowerNetwork(settings, weights)
        wrapped = GradSampleModuleFastGradientClipping(
            network, loss_reduction="sum", max_grad_norm=settings.clip
        )
        adam = torch.optim.Adam(wrapped.parameters(), lr=settings.learning_rate)
        optimizer = SecureNoiseOptimizer(
            adam, noise if private else None, noise_multiplier, settings.clip
        )
        for _ in range(settings.steps):
            sampled = np.flatnonzero(
                noise.uniform(interactions.n_shoppers) < settings.sampling_rate
            )
            others = _negatives(features.n_items, settings.negatives, public)
            sum_clipped_gradients(
                wrapped, optimizer, interactions, sampled, others, features, popularity, settings
            )
            optimizer.step()
            network.hold()
        return network.to_weights()


def sum_clipped_gradients(
    wrapped: GradSampleModuleFastGradientClipping,
    optimizer: SecureNoiseOptimizer,
    interactions: Interactions,
    sampled: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
    features: ToyFeatures,
    popularity: Float,
    settings: NeuralSettings,
) -> None:
    """Leave sum_i g_i min(1, C / |g_i|) where the optimizer's next step takes it from.

    Privacy: stays at the merchant; L2 sensitivity C, add or remove one shopper.
    """
    optimizer.zero_grad()
    # One shopper's loss is 0 for a single purchase, whose gradient need not be computed.
    useful = sampled[interactions.lengths[sampled] >= 2]
    lengths = np.minimum(interactions.lengths[useful], max(2, settings.history))
    pieces = pieces_of(lengths, shoppers_at_once(settings))
    for piece in pieces:
        longest = int(lengths[piece].max())
        histories = interactions.rows(useful[piece])
        batch = make_batch(histories, others, features, popularity, longest)
        losses = wrapped(batch)
        with warnings.catch_warnings():
            # Of Opacus's own hooks: the layers' inputs are features, which need no gradient.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            DPTensorFastGradientClipping(wrapped, optimizer, losses, "sum").backward()
        if piece is not pieces[-1]:
            optimizer.signal_skip_step()
            optimizer.step()
    if not pieces:
        for parameter in optimizer.params:
            parameter.grad = torch.zeros_like(parameter)


def shoppers_at_once(settings: NeuralSettings) -> int:
    """How many shoppers are laid out together, if all had the longest history that counts.

    The settings alone decide it: otherwise one shopper with a long history could take a run over
    the memory that it may use, and whether it failed would tell that there is one.
    """
    toys = settings.history + settings.negatives
    of_toys = toys * (settings.features + 2 * settings.hidden + 2 * settings.factors)
    of_scores = settings.history * (1 + settings.negatives) * (2 * N_SIGNALS + 4)
    of_gradients = settings.hidden * (settings.features + settings.factors)
    of_gradients += 2 * settings.factors**2
    one = of_toys + of_scores + of_gradients
    # Similarities of all toys of the batch to one another, were they all different.
    square = math.isqrt(_NUMBERS_AT_ONCE // 2) // settings.history
    return min(_SHOPPERS_AT_ONCE, max(1, min(_NUMBERS_AT_ONCE // one, square)))


def _negatives(n_items: int, wanted: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    if n_items <= wanted:
        return np.arange(n_items)
    return rng.choice(n_items, wanted, replace=False)


@contextmanager
def _bounded_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
