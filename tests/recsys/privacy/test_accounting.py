"""Epsilon, delta and mu against dp_accounting, published figures and each other."""

from __future__ import annotations

import math

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import PrivacyError
from recsys.privacy import GaussianEvent, compose, delta_of, epsilon_of, mu_of, spent


@pytest.mark.parametrize(("epsilon", "ratio"), [(0.5, 7.03), (1, 3.73), (2, 1.99), (5, 0.892)])
def test_noise_for_an_epsilon_is_the_published_one(epsilon: float, ratio: float) -> None:
    assert 1 / mu_of(epsilon, 1e-5) == pytest.approx(ratio, rel=2e-3)


@pytest.mark.parametrize(("claimed", "real"), [(1.0, 1.99), (5.0, 13.2)])
def test_the_naive_formula_claims_less_than_it_costs(claimed: float, real: float) -> None:
    sigma = 2 / claimed
    assert epsilon_of(1 / sigma, 1e-5) == pytest.approx(real, rel=5e-3)


def test_ten_rounds_at_epsilon_one_need_eleven_point_eight() -> None:
    assert math.sqrt(10) / mu_of(1.0, 1e-5) == pytest.approx(11.8, abs=0.05)


@pytest.mark.parametrize("mu", [0.05, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_epsilon_agrees_with_dp_accounting(mu: float, delta: float) -> None:
    accountant = pld_privacy_accountant.PLDAccountant()
    accountant.compose(dp_event.GaussianDpEvent(1 / mu))
    assert epsilon_of(mu, delta) == pytest.approx(accountant.get_epsilon(delta), abs=2e-3)


def test_composition_agrees_with_dp_accounting() -> None:
    events = [GaussianEvent("a", 1.0, 8.0), GaussianEvent("b", 3.0, 10.0)]
    accountant = pld_privacy_accountant.PLDAccountant()
    for event in events:
        accountant.compose(dp_event.GaussianDpEvent(event.sigma / event.sensitivity))
    assert spent(events, 1e-6) == pytest.approx(accountant.get_epsilon(1e-6), abs=2e-3)


@given(st.floats(0.01, 30), st.floats(1e-12, 0.1))
def test_mu_and_epsilon_undo_each_other(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert delta_of(epsilon, mu) <= delta * (1 + 1e-9)
    assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-8)


@given(st.floats(0.001, 20), st.floats(1e-12, 0.5))
def test_epsilon_is_enough_and_not_much_too_much(mu: float, delta: float) -> None:
    epsilon = epsilon_of(mu, delta)
    assert delta_of(epsilon, mu) <= delta * (1 + 1e-9)
    if epsilon > 1e-6:
        assert delta_of(epsilon * (1 - 1e-6), mu) > delta * (1 - 1e-9)


def test_tiny_deltas_keep_their_digits() -> None:
    from decimal import Decimal, getcontext

    getcontext().prec = 60

    def tail(x: Decimal) -> Decimal:
        """P(N > x) by its continued fraction."""
        fraction = x
        for k in range(400, 0, -1):
            fraction = x + Decimal(k) / fraction
        density = (-x * x / 2).exp() / (2 * Decimal("3.14159265358979323846264338328")).sqrt()
        return density / fraction

    exact = tail(Decimal("10.75")) - Decimal("5.5").exp() * tail(Decimal("11.25"))
    assert delta_of(5.5, 0.5) == pytest.approx(float(exact), rel=1e-10)


def test_nothing_released_costs_nothing() -> None:
    assert compose([]) == 0
    assert spent([], 1e-5) == 0
    assert delta_of(0.0, 0.0) == 0


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(PrivacyError, match="Expected gaussian events, found str"):
        compose(["free"])  # type: ignore[list-item]


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_impossible_deltas_are_refused(delta: float) -> None:
    with pytest.raises(PrivacyError, match="Expected delta"):
        epsilon_of(1.0, delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_impossible_epsilons_are_refused(epsilon: float) -> None:
    with pytest.raises(PrivacyError, match="Expected epsilon"):
        mu_of(epsilon, 1e-5)
