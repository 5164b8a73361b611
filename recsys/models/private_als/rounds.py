"""Rounds of private alternating least squares: noise the sums, solve for the toys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.private_als.plan import Plan, als_phase
from recsys.models.private_als.settings import PrivateALSSettings, SpeedSettings
from recsys.models.private_als.statistics import (
    MOST_COUNT,
    ShopperSide,
    Statistics,
    full_matrices,
    shopper_side,
)
from recsys.privacy import GaussianEvent, GaussianRelease, SecureNoise

__all__ = [
    "als_round",
    "average_rounds",
    "initial_embeddings",
    "release_statistics",
    "solve_items",
]

Float = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float32]


def initial_embeddings(n_items: int, settings: PrivateALSSettings) -> Embeddings:
    """Embeddings before round 1, init_scale N(0, I) from the public seed: float32 [n_items, d]."""
    rng = np.random.default_rng(settings.seed)
    draws = rng.standard_normal((n_items, settings.factors)) * settings.init_scale
    return draws.astype(np.float32)


def als_round(
    interactions: Interactions,
    item_embeddings: Embeddings,
    counts: Float,
    settings: PrivateALSSettings,
    plan: Plan,
    noise: SecureNoise,
    *,
    round_number: int,
    speed: SpeedSettings | None = None,
) -> tuple[Embeddings, list[GaussianEvent]]:
    """Train the toys' embeddings one round further on one merchant's purchases.

        u_i = fitted to i's toys and clipped to Gamma        (stays at the merchant)
        G = sum u u' + noise,  A_j = sum c_ij u u' + noise,  b_j = sum c_ij u + noise
        v_j = (A_j + alpha G + lambda I)^-1 b_j,   with A_j and G made positive semi-definite

    or, without outer products, (kappa s_j G) for A_j, where s_j is the toy's share of the counts.

    Args:
        interactions: one merchant's; may have no shoppers at all.
        item_embeddings: V of the last round, public, float32 [n_items, d].
        counts: of `merged_counts`, float64 [n_items].
        settings: public.
        plan: made from these settings.
        noise: secret source.
        round_number: 1 for the first.
        speed: block sizes; no effect on what is released.

    Returns:
        new embeddings, float32 [n_items, d], and the events to book.

    Raises:
        ModelError: embeddings or counts of another shape, or not finite.
        PrivacyError: a plan of other settings, or a round that is not in it.

    Privacy: shopper-level, add or remove one; the plan's phase 'als-<round>', L2 sensitivities
    Gamma^2 (G), sqrt(B) Gamma^2 (A), sqrt(B) Gamma (b). Solving is post-processing, free.

    Source: Chien et al., ICML 2021, algorithm 1; Krichene et al., ICML 2023, algorithm 1.
    """
    plan.check_made_from(settings)
    side = shopper_side(interactions, item_embeddings, counts, settings, speed)
    release = _RoundRelease(side, plan, noise, round_number)
    solved = np.empty(item_embeddings.shape, dtype=np.float32)
    weights = _gram_weights(counts, settings)
    for start, outer, linear in release.blocks():
        toys = slice(start, start + len(outer))
        block = Statistics(release.gram, outer, linear)
        solved[toys] = _solve(block, settings, weights[toys])
    return solved, release.close()


def release_statistics(
    interactions: Interactions,
    item_embeddings: Embeddings,
    counts: Float,
    settings: PrivateALSSettings,
    plan: Plan,
    noise: SecureNoise,
    *,
    round_number: int,
    speed: SpeedSettings | None = None,
) -> tuple[Statistics, list[GaussianEvent]]:
    """Release the noised sums of one round, for a merge that adds them up and solves afterwards.

    Args, errors, privacy: as `als_round`.
    """
    plan.check_made_from(settings)
    side = shopper_side(interactions, item_embeddings, counts, settings, speed)
    release = _RoundRelease(side, plan, noise, round_number)
    blocks = list(release.blocks())
    noised = Statistics(
        release.gram,
        np.concatenate([outer for _, outer, _ in blocks]),
        np.concatenate([linear for _, _, linear in blocks]),
    )
    return noised, release.close()


def solve_items(
    noised: Statistics, settings: PrivateALSSettings, counts: Float | None = None
) -> Embeddings:
    """v_j = (psd(A_j) + alpha psd(G) + lambda I)^-1 b_j for all toys: float32 [n_items, d].

    Args:
        noised: released sums of one merchant, or of several added up.
        counts: of `merged_counts`, float64 [n_items], for kappa s_j G instead of A_j where outer
            products were not released; None leaves that out.

    Privacy: post-processing of released sums, free.
    """
    if counts is None or settings.outer_products:
        counts = np.zeros(len(noised.linear))
    return _solve(noised, settings, _gram_weights(counts, settings))


def _gram_weights(counts: Float, settings: PrivateALSSettings) -> Float:
    """What G is multiplied by for each toy, float64 [n_items]."""
    if settings.outer_products:
        return np.full(len(counts), settings.alpha)
    counts = np.minimum(counts, MOST_COUNT)
    share = counts / max(1.0, float(counts.sum()))
    return np.asarray(settings.alpha + settings.popularity_weight * share)


def _solve(noised: Statistics, settings: PrivateALSSettings, weights: Float) -> Embeddings:
    gram = full_matrices(noised.gram)
    ridge = settings.item_regularization
    if settings.outer_products:
        systems = _positive(full_matrices(noised.outer))
        systems += weights[:, None, None] * _positive(gram) + ridge * np.eye(settings.factors)
        solved = np.linalg.solve(systems, noised.linear[:, :, None])[:, :, 0]
    else:
        # All systems share the eigenvectors of G.
        values, vectors = np.linalg.eigh(gram)
        scale = weights[:, None] * np.maximum(values, 0.0) + ridge
        solved = (noised.linear @ vectors / scale) @ vectors.T
    return np.asarray(solved, dtype=np.float32)


def average_rounds(merged: Sequence[Embeddings], settings: PrivateALSSettings) -> Embeddings:
    """Average the embeddings of the last `averaged_rounds` rounds, whose noise is independent.

    Rounds hardly turn the embeddings any more towards the end, so that averaging keeps what was
    learned and evens out noise that was already paid for.

    Args:
        merged: of each round in order, float32 [n_items, d].

    Returns:
        float32 [n_items, d].

    Raises:
        ModelError: no rounds, or rounds of different shapes.

    Privacy: post-processing of released embeddings, free.
    """
    last = merged[-settings.averaged_rounds :]
    if not last or len({embeddings.shape for embeddings in last}) != 1:
        raise ModelError(
            "Expected embeddings of one shape from one round or more, found shapes "
            f"{[embeddings.shape for embeddings in last]}."
        )
    total = np.sum([embeddings.astype(np.float64) for embeddings in last], axis=0)
    averaged: Embeddings = (total / len(last)).astype(np.float32)
    return averaged


def _positive(matrices: Float) -> Float:
    """Nearest positive semi-definite matrices: negative eigenvalues, which noise made, become 0."""
    values, vectors = np.linalg.eigh(matrices)
    scaled: Float = vectors * np.maximum(values, 0.0)[..., None, :]
    repaired: Float = scaled @ vectors.swapaxes(-1, -2)
    return repaired


class _RoundRelease:
    """The noised sums of one round, block by block, so that memory stays bounded."""

    def __init__(
        self, side: ShopperSide, plan: Plan, noise: SecureNoise, round_number: int
    ) -> None:
        gram, *outer, linear = plan.of(als_phase(round_number))
        settings, n_items = plan.settings, side.by_item.shape[0]
        self._side = side
        self.gram, self._gram_event = noise.release_sum(
            side.gram(), gram.sensitivity, gram.sigma, gram.what
        )
        self._outer = [_begin(noise, event, n_items * settings.outer_size) for event in outer]
        self._linear = _begin(noise, linear, n_items * settings.factors)

    def blocks(self) -> Iterator[tuple[int, Float, Float]]:
        for start, outer, linear in self._side.item_blocks():
            for release in self._outer:
                outer = release.add(outer)
            yield start, outer, self._linear.add(linear)

    def close(self) -> list[GaussianEvent]:
        outer = [release.close() for release in self._outer]
        return [self._gram_event, *outer, self._linear.close()]


def _begin(noise: SecureNoise, planned: GaussianEvent, coordinates: int) -> GaussianRelease:
    return noise.release(planned.what, planned.sensitivity, planned.sigma, coordinates)
