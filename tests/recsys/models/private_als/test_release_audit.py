"""Canaries in real releases: the mechanism keeps its promise, broken ones are found out.

With a false alarm of 1e-7 a test, a correct mechanism fails here once in a million runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from recsys.data.interactions import Interactions
from recsys.models.private_als import (
    PrivateALSSettings,
    Statistics,
    initial_embeddings,
    make_plan,
    release_statistics,
    statistics,
)
from recsys.privacy import (
    Budget,
    CanaryAudit,
    SecureNoise,
    audit_canaries,
    compose,
    noise_problems,
    reuse_problems,
)

CANARIES = 1200
N_ITEMS = 2 * CANARIES  # each canary buys two toys of its own, so that none hides another
SETTINGS = PrivateALSSettings(
    factors=4,
    rounds=3,
    outer_products=True,
    alpha=0.0,
    shopper_regularization=1e-3,
    count_exponent=0.0,
)
PLAN = make_plan(SETTINGS, Budget(2.0, 1e-5))
EMBEDDINGS = initial_embeddings(N_ITEMS, SETTINGS)
COUNTS = np.ones(N_ITEMS)

Release = Callable[[Interactions, int], Statistics]


class HalfNoise(SecureNoise):
    """Half of what is booked."""

    def gaussian(self, shape: int | tuple[int, ...], sigma: float, grid: float) -> np.ndarray:
        return super().gaussian(shape, sigma, grid) / 2


class NoNoise(SecureNoise):
    """None at all."""

    def gaussian(self, shape: int | tuple[int, ...], sigma: float, grid: float) -> np.ndarray:
        return np.zeros(shape)


def with_noise(make: Callable[[], SecureNoise]) -> Release:
    """The real release with another source of noise."""

    def release(market: Interactions, round_number: int) -> Statistics:
        return release_statistics(
            market, EMBEDDINGS, COUNTS, SETTINGS, PLAN, make(), round_number=round_number
        )[0]

    return release


def without_clipping(market: Interactions, round_number: int) -> Statistics:
    """The planned noise on sums of vectors that were hardly clipped."""
    loose = PrivateALSSettings.from_dict(SETTINGS.to_dict() | {"clip": 1e6})
    exact = statistics(market, EMBEDDINGS, COUNTS, loose)
    noise, (gram, outer, linear) = SecureNoise(), PLAN.of(f"als-{round_number}")
    parts = ((exact.gram, gram), (exact.outer, outer), (exact.linear, linear))
    return Statistics(*(noise.release_sum(e, p.sensitivity, p.sigma, p.what)[0] for e, p in parts))


def silent_gram(market: Interactions, round_number: int) -> Statistics:
    """Noise everywhere but in the Gram matrix."""
    noised = with_noise(SecureNoise)(market, round_number)
    return Statistics(
        statistics(market, EMBEDDINGS, COUNTS, SETTINGS).gram, noised.outer, noised.linear
    )


def reused_noise() -> Release:
    """Every round draws the same numbers again."""
    return with_noise(lambda: SecureNoise(np.random.default_rng(7).bytes))


def canary_market() -> tuple[Interactions, np.ndarray]:
    """Canaries, each with two toys of its own, and who of them takes part."""
    everyone = Interactions.from_lists([[2 * i, 2 * i + 1] for i in range(CANARIES)], N_ITEMS)
    return everyone, np.random.default_rng(0).permutation(CANARIES) < CANARIES // 2


def residuals(release: Release, round_number: int) -> dict[str, np.ndarray]:
    """Released minus exact, in units of the booked sigma."""
    everyone, present = canary_market()
    market = everyone.rows(np.flatnonzero(present))
    noised, exact = (
        release(market, round_number),
        statistics(market, EMBEDDINGS, COUNTS, SETTINGS),
    )
    names = ("gram", "outer", "linear")
    return {
        name: ((getattr(noised, name) - getattr(exact, name)) / event.sigma).ravel()
        for name, event in zip(names, PLAN.of(f"als-{round_number}"), strict=True)
    }


def canary_audit(release: Release) -> CanaryAudit:
    """Score each canary by its own rows of A and b, which nobody else touches."""
    everyone, present = canary_market()
    noised = release(everyone.rows(np.flatnonzero(present)), 1)
    alone = statistics(everyone, EMBEDDINGS, COUNTS, SETTINGS)
    _, outer, linear = PLAN.of("als-1")

    def rows(sums: Statistics) -> np.ndarray:
        scaled = np.concatenate([sums.outer / outer.sigma, sums.linear / linear.sigma], axis=1)
        return scaled.reshape(CANARIES, -1)

    directions = rows(alone)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scores = (rows(noised) * directions).sum(axis=1)
    return audit_canaries(scores[present], scores[~present], compose(PLAN.of("als-1")))


def problems(release: Release) -> list[str]:
    """All that any test finds."""
    found = []
    audit = canary_audit(release)
    if not audit.passed:
        found.append("canaries")
    first, second = residuals(release, 1), residuals(release, 2)
    for name in first:
        if noise_problems(first[name], 1.0):
            found.append(f"size of {name}")
        if first[name].size >= 100 and reuse_problems(first[name], second[name]):
            found.append("reuse")
    return found


def test_the_mechanism_keeps_its_promise_and_its_mu_is_seen() -> None:
    release = with_noise(SecureNoise)
    assert problems(release) == []
    audit = canary_audit(release)
    assert audit.estimate == pytest.approx(audit.promised, abs=6 * np.sqrt(4 / CANARIES))


def test_without_outer_products_the_linear_part_shows_all_of_mu_and_no_more() -> None:
    settings = replace(SETTINGS, outer_products=False)
    plan = make_plan(settings, Budget(2.0, 1e-5))
    everyone, present = canary_market()
    args = (EMBEDDINGS, COUNTS, settings)
    noised, _ = release_statistics(
        everyone.rows(np.flatnonzero(present)), *args, plan, SecureNoise(), round_number=1
    )
    directions = statistics(everyone, *args).linear.reshape(CANARIES, -1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, linear = plan.of("als-1")
    scores = (noised.linear.reshape(CANARIES, -1) * directions).sum(axis=1) / linear.sigma
    audit = audit_canaries(scores[present], scores[~present], compose(plan.of("als-1")))
    assert audit.passed
    assert audit.estimate == pytest.approx(linear.mu, abs=6 * np.sqrt(4 / CANARIES))
    exact = statistics(everyone.rows(np.flatnonzero(present)), *args)
    gram, _ = plan.of("als-1")
    assert not noise_problems(((noised.linear - exact.linear) / linear.sigma).ravel(), 1.0)
    assert not noise_problems((noised.gram - exact.gram) / gram.sigma, 1.0)


@pytest.mark.parametrize(
    ("release", "finding"),
    [
        (with_noise(NoNoise), "canaries"),
        (with_noise(NoNoise), "size of linear"),
        (with_noise(HalfNoise), "size of outer"),
        (without_clipping, "canaries"),
        (silent_gram, "size of gram"),
        (reused_noise(), "reuse"),
    ],
    ids=["none", "none, by size", "half", "no clip", "silent gram", "reused"],
)
def test_broken_mechanisms_are_found_out(release: Release, finding: str) -> None:
    assert finding in problems(release)
