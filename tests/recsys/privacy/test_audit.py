"""The audit's own tests: it accepts what is right and rejects what is slightly wrong."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.errors import PrivacyError
from recsys.privacy import audit_canaries, noise_problems, reuse_problems

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
