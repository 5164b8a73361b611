"""Everything that a private two-tower network will release, fixed before any data is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import PrivacyError
from recsys.models.neural.settings import NeuralSettings
from recsys.models.private_als.counts import exact_counts
from recsys.privacy import (
    Budget,
    GaussianEvent,
    SecureNoise,
    SubsampledGaussianEvent,
    mu_of,
    noise_multiplier_for,
)

__all__ = [
    "COUNTS",
    "NeuralPlan",
    "counts_release",
    "make_plan",
    "merged_popularity",
    "train_phase",
]

Float = npt.NDArray[np.float64]
COUNTS = "counts"


@dataclass(frozen=True)
class NeuralPlan:
    """The planned events of every phase at one merchant.

    Args:
        settings: that it was made from.
        counts: the event of the counts.
        noise_multiplier: sigma / C of every step of every round.
    """

    settings: NeuralSettings
    counts: GaussianEvent
    noise_multiplier: float

    @property
    def phases(self) -> Mapping[str, tuple[GaussianEvent | SubsampledGaussianEvent, ...]]:
        """'counts', 'train-1' ... 'train-T' -> events, in that order."""
        chosen = self.settings
        rounds = {
            train_phase(t): (
                SubsampledGaussianEvent(
                    train_phase(t), self.noise_multiplier, float(chosen.sampling_rate), chosen.steps
                ),
            )
            for t in range(1, chosen.rounds + 1)
        }
        return {COUNTS: (self.counts,), **rounds}

    def of(self, phase: str) -> tuple[GaussianEvent | SubsampledGaussianEvent, ...]:
        """Planned events of a phase.

        Raises:
            PrivacyError: a phase that the plan does not have.
        """
        phases = self.phases
        if phase not in phases:
            raise PrivacyError(f"Expected a phase among {list(phases)}, found {phase!r}.")
        return phases[phase]


def train_phase(round_number: int) -> str:
    """Name of the phase of round 1, 2, ..."""
    return f"train-{round_number}"


@functools.lru_cache(maxsize=64)
def make_plan(settings: NeuralSettings, budget: Budget) -> NeuralPlan:
    """Give the counts their share and the rounds all that is left.

    Sensitivities, for one shopper added or removed: counts sqrt(kc + 1); a step C, of which the
    noise multiplier is a multiple. All steps of all rounds are one Poisson-subsampled Gaussian,
    composed with the counts by privacy loss distributions.

    Args:
        settings: of the network.
        budget: of one shopper at one merchant, for everything below.
    """
    sensitivity = math.sqrt(settings.count_bound + 1)
    mu = mu_of(budget.epsilon, budget.delta) * math.sqrt(settings.counts_share)
    counts = GaussianEvent(COUNTS, sensitivity, sensitivity / mu)
    sigma = noise_multiplier_for(
        budget.epsilon,
        budget.delta,
        settings.sampling_rate,
        settings.all_steps,
        beside=(counts,),
    )
    return NeuralPlan(settings, counts, sigma)


def counts_release(
    interactions: Interactions, settings: NeuralSettings, plan: NeuralPlan, noise: SecureNoise
) -> tuple[Float, float]:
    """Release noised shoppers per toy, float64 [n_items], and the noised number of shoppers.

    Privacy: shopper-level, add or remove one; the plan's phase 'counts'.
    """
    planned = plan.counts
    keys = noise.uniform(interactions.csr().nnz)
    exact = exact_counts(interactions, settings.count_bound, keys)
    noised, _ = noise.release_sum(exact, planned.sensitivity, planned.sigma, planned.what)
    return noised[:-1], max(1.0, float(noised[-1]))


def merged_popularity(counts: Float) -> Float:
    """log(1 + n_j / mean): what the towers know of a toy's popularity, float64 [n_items].

    Args:
        counts: sum over merchants of released counts, float64 [n_items]; below 0 counts as 0, so
            counts that drown in their noise stay near the mean.

    Privacy: post-processing of released counts, free.
    """
    size = np.abs(counts).mean() if counts.size else 0.0
    popularity: Float = np.log1p(np.maximum(counts, 0.0) / max(1.0, float(size)))
    return popularity
