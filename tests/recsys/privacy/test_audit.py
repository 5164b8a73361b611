"""The audit's own tests: it accepts what is right and rejects what is slightly wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.errors import PrivacyError
from recsys.privacy import (
    SecureNoise,
    SubsampledGaussianEvent,
    audit_canaries,
    audit_guesses,
    grid_for,
    noise_problems,
    reuse_problems,
    spent,
)

RNG = np.random.default_rng


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_scores_at_the_promise_pass_and_their_mu_is_found(mu: float) -> None:
    rng = RNG(0)
    audit = audit_canaries(rng.normal(mu, 1, 5000), rng.normal(0, 1, 5000), mu)
    assert audit.passed
    assert audit.low < audit.estimate
    assert audit.estimate == pytest.approx(mu, abs=0.15)


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_twice_the_promise_is_rejected(mu: float) -> None:
    rng = RNG(1)
    audit = audit_canaries(rng.normal(2 * mu, 1, 5000), rng.normal(0, 1, 5000), mu)
    assert not audit.passed


def test_no_noise_at_all_is_rejected() -> None:
    assert not audit_canaries(np.ones(50), np.zeros(50), 5.0).passed


def test_too_few_canaries_say_nothing() -> None:
    with pytest.raises(PrivacyError, match="10 canaries"):
        audit_canaries(np.ones(9), np.zeros(50), 1.0)


def test_noise_of_the_booked_size_passes() -> None:
    assert noise_problems(RNG(2).normal(0, 3, 10_000), 3.0) == []


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.9, 1.1])
def test_noise_of_another_size_is_found(factor: float) -> None:
    assert noise_problems(RNG(3).normal(0, 3 * factor, 10_000), 3.0)


def test_noise_that_is_off_centre_is_found() -> None:
    assert any("around 0" in what for what in noise_problems(RNG(4).normal(0.2, 1, 10_000), 1.0))


def test_independent_noise_passes_and_reused_noise_is_found() -> None:
    first, second = RNG(5).normal(size=(2, 10_000))
    assert reuse_problems(first, second) == []
    assert reuse_problems(first, first)
    assert reuse_problems(first, -2 * first)
    assert reuse_problems(first, second + 0.2 * first)
    assert reuse_problems(0 * first, 0 * second)


def dp_sgd_scores(
    took_part: bool, noise: float, *, bound: float = 1.0, always: bool = False, runs: int = 6000
) -> np.ndarray:
    """What an observer of every step can add up about one canary: a sum of noised samples."""
    rate, count = 0.1, 20
    source = SecureNoise()
    sampled = source.uniform(runs * count).reshape(runs, count) < (1.0 if always else rate)
    sums = sampled * bound if took_part else np.zeros((runs, count))
    return np.sum(sums + source.gaussian((runs, count), noise, grid_for(noise, count)), axis=1)


PROMISED = spent([SubsampledGaussianEvent("steps", 2.0, 0.1, 20)], 1e-5)


def test_dp_sgd_as_promised_passes() -> None:
    audit = audit_guesses(dp_sgd_scores(True, 2.0), dp_sgd_scores(False, 2.0), PROMISED, 1e-5)
    assert audit.passed
    assert 0 <= audit.low < PROMISED < 1.5


@pytest.mark.parametrize(
    "broken",
    [
        {"noise": 0.2},
        {"noise": 2.0, "bound": 10.0},
        {"noise": 2.0, "always": True},
    ],
    ids=["a tenth of the noise", "not clipped", "not sampled"],
)
def test_broken_dp_sgd_is_rejected(broken: dict[str, Any]) -> None:
    present = dp_sgd_scores(True, **broken)
    absent = dp_sgd_scores(False, **broken)
    assert not audit_guesses(present, absent, PROMISED, 1e-5).passed
    # Whichever way round the scores are.
    assert not audit_guesses(-absent, -present, PROMISED, 1e-5).passed


def test_a_few_runs_prove_nothing() -> None:
    with pytest.raises(PrivacyError, match="100 runs or more"):
        audit_guesses(np.ones(99), np.zeros(500), 1.0, 1e-5)
    assert audit_guesses(np.ones(100), np.zeros(100), 5.0, 1e-5).passed
    assert audit_guesses(np.zeros(100), np.zeros(100), 0.0, 1e-5).passed
