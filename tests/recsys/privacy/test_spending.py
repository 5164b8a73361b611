"""What DP-SGD costs, alone and beside other releases: against others' accountants and itself."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import PrivacyError
from recsys.privacy import (
    Budget,
    GaussianEvent,
    PrivacyEvent,
    SubsampledGaussianEvent,
    Tally,
    compose,
    epsilon_of,
    mu_left,
    mu_of,
    noise_multiplier_for,
    spent,
)
from recsys.privacy.losses import COARSE, FINE, epsilon_on_grid

DELTA = 1e-5
# Rounding in FFTs; what is compared differs by far more, or not at all.
HAIR = 1e-6

noises = st.sampled_from([0.6, 0.8, 1.0, 1.7, 4.0, 20.0])
rates = st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.9])
counts = st.sampled_from([1, 7, 100, 1000])
few = settings(max_examples=15, deadline=None)


def steps(noise: float, rate: float, count: int) -> SubsampledGaussianEvent:
    return SubsampledGaussianEvent("towers", noise, rate, count)


def test_the_published_figure_and_not_the_looser_one() -> None:
    assert spent([steps(1.0, 0.01, 1000)], DELTA) == pytest.approx(1.828, abs=0.002)


@pytest.mark.parametrize(
    ("noise", "rate", "count"),
    [(1.0, 0.01, 1000), (1.4, 0.05, 200), (0.8, 0.02, 400), (3.0, 0.1, 300), (6.0, 0.5, 100)],
)
def test_epsilon_agrees_with_opacus(noise: float, rate: float, count: int) -> None:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = accountant.get_epsilon(delta=DELTA, eps_error=0.005)
    assert spent([steps(noise, rate, count)], DELTA) == pytest.approx(theirs, rel=0.01)


def test_two_kinds_of_steps_agree_with_opacus() -> None:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(1.2, 0.02, 300), (2.0, 0.1, 100)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = accountant.get_epsilon(delta=DELTA, eps_error=0.005)
    ours = spent([steps(1.2, 0.02, 300), steps(2.0, 0.1, 100)], DELTA)
    assert ours == pytest.approx(theirs, rel=0.01)


def test_a_central_limit_would_claim_less_than_it_costs() -> None:
    noise, rate, count = 0.7, 0.01, 500
    mu = rate * math.sqrt(count * math.expm1(noise**-2))
    assert spent([steps(noise, rate, count)], DELTA) > epsilon_of(mu, DELTA) * 1.05


@pytest.mark.parametrize("count", [1, 10, 400])
def test_every_shopper_in_every_step_is_the_exact_gaussian(count: int) -> None:
    exact = epsilon_of(math.sqrt(count) / 9.0, DELTA)
    assert spent([steps(9.0, 1.0, count)], DELTA) == pytest.approx(exact, rel=1e-12)
    nearly = epsilon_on_grid(0.0, ((9.0, 1 - 1e-9, count),), DELTA)
    assert exact * (1 - 1e-6) <= nearly <= exact * 1.005


def test_a_gaussian_beside_steps_is_composed_exactly_as_a_gaussian() -> None:
    exact = epsilon_of(math.hypot(0.3, math.sqrt(50) / 20), DELTA)
    found = epsilon_on_grid(0.3, ((20.0, 1 - 1e-12, 50),), DELTA)
    assert exact * (1 - 1e-6) <= found <= exact * 1.005


@few
@given(noises, rates, counts)
def test_sampling_never_costs_more_than_taking_everybody(
    noise: float, rate: float, count: int
) -> None:
    whole = epsilon_of(math.sqrt(count) / noise, DELTA)
    assert spent([steps(noise, rate, count)], DELTA) <= whole


@pytest.mark.slow
@few
@given(noises, rates, counts)
def test_more_steps_less_noise_and_larger_samples_cost_more(
    noise: float, rate: float, count: int
) -> None:
    base = spent([steps(noise, rate, count)], DELTA)
    for dearer in (
        steps(noise, rate, 2 * count),
        steps(noise * 0.9, rate, count),
        steps(noise, min(1.0, rate * 1.1), count),
    ):
        assert spent([dearer], DELTA) >= base * (1 - HAIR)
    assert spent([steps(noise, rate, count)], DELTA / 10) >= base


@pytest.mark.slow
@few
@given(noises, rates, counts, st.sampled_from([0.01, 0.2, 1.0]))
def test_a_mix_costs_at_least_each_part_and_at_most_all_of_it_one_by_one(
    noise: float, rate: float, count: int, mu: float
) -> None:
    parts: list[PrivacyEvent] = [
        steps(noise, rate, count),
        GaussianEvent("sums", mu, 1.0),
        steps(2 * noise, rate, 3),
    ]
    whole = spent(parts, DELTA)
    alone = [spent([part], DELTA) for part in parts]
    assert whole >= max(alone) * (1 - HAIR)
    # Basic composition: epsilons and deltas add up.
    assert whole <= sum(spent([part], DELTA / 3) for part in parts) * (1 + 5e-3)


@few
@given(noises, rates, counts)
def test_a_coarser_grid_never_says_less(noise: float, rate: float, count: int) -> None:
    kind = ((noise, rate, count),)
    fine, coarse = (epsilon_on_grid(0.1, kind, DELTA, grid) for grid in (FINE, COARSE))
    assert coarse >= fine * (1 - HAIR)


def test_steps_of_one_kind_are_the_same_in_one_event_or_in_many() -> None:
    one = Tally.of([steps(1.0, 0.01, 1000)])
    many = Tally.of([steps(1.0, 0.01, 400), steps(1.0, 0.01, 600)])
    assert one == many
    assert Tally.of([steps(1.0, 0.01, 400)]) + Tally.of([steps(1.0, 0.01, 600)]) == one


def test_order_does_not_matter() -> None:
    events: list[PrivacyEvent] = [
        steps(2.0, 0.01, 10),
        GaussianEvent("a", 1.0, 9.0),
        steps(1.0, 0.1, 5),
        GaussianEvent("b", 1.0, 7.0),
    ]
    assert spent(events, DELTA) == spent(events[::-1], DELTA)


def test_gaussian_releases_keep_their_exact_sum() -> None:
    events = [GaussianEvent("a", 1.0, 9.0), GaussianEvent("b", 1.0, 7.0)]
    assert spent(events, DELTA) == epsilon_of(compose(events), DELTA)
    assert Tally.of(events).mu(DELTA) == compose(events)


def test_nothing_costs_nothing() -> None:
    assert spent([], DELTA) == 0
    assert Tally() + Tally() == Tally.of([])
    assert Tally().epsilon(DELTA) == 0


def test_the_mu_shown_for_steps_costs_the_same() -> None:
    tally = Tally.of([steps(1.0, 0.01, 1000)])
    assert epsilon_of(tally.mu(DELTA), DELTA) == pytest.approx(tally.epsilon(DELTA), rel=1e-6)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(PrivacyError, match="found str"):
        spent(["free"], DELTA)  # type: ignore[list-item]
    with pytest.raises(PrivacyError, match="Expected gaussian events"):
        compose([steps(1.0, 0.1, 1)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("noise", "rate", "count"),
    [(0.001, 0.5, 1_000_000), (0.01, 1e-6, 1), (1e9, 1e-9, 1_000_000), (1e4, 0.999, 3)],
)
def test_absurd_steps_are_answered_with_a_bound_and_not_with_all_memory(
    noise: float, rate: float, count: int
) -> None:
    whole = epsilon_of(math.sqrt(count) / noise, DELTA)
    assert 0 <= spent([steps(noise, rate, count)], DELTA) <= whole


def test_a_delta_that_rounding_could_hide_falls_back_to_no_sampling_at_all() -> None:
    found = spent([steps(5.0, 0.01, 1000)], 1e-13)
    assert found == pytest.approx(epsilon_of(math.sqrt(1000) / 5, 1e-13), rel=1e-9)


@pytest.mark.parametrize(
    ("epsilon", "rate", "count", "beside"),
    [
        (1.0, 0.01, 1000, []),
        (0.5, 0.05, 200, [GaussianEvent("counts", 1.0, 20.0)]),
        (8.0, 0.02, 300, [SubsampledGaussianEvent("before", 2.0, 0.05, 100)]),
        (1.0, 1.0, 10, []),
    ],
)
def test_the_noise_is_enough_and_one_digit_less_is_not(
    epsilon: float, rate: float, count: int, beside: list[PrivacyEvent]
) -> None:
    noise = noise_multiplier_for(epsilon, DELTA, rate, count, beside)
    assert float(f"{noise:.4g}") == noise
    assert spent([steps(noise, rate, count), *beside], DELTA) <= epsilon
    less = noise - 10.0 ** (math.floor(math.log10(noise)) - 3)
    assert spent([steps(less, rate, count), *beside], DELTA) > epsilon


def test_ten_full_rounds_at_epsilon_one_need_eleven_point_eight() -> None:
    assert noise_multiplier_for(1.0, DELTA, 1.0, 10) == pytest.approx(11.8, abs=0.05)


def test_what_takes_the_whole_budget_leaves_no_noise_to_choose() -> None:
    with pytest.raises(PrivacyError, match="other releases alone cost"):
        noise_multiplier_for(1.0, DELTA, 0.01, 10, [GaussianEvent("counts", 1.0, 2.0)])


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "count"),
    [(0, 1e-5, 0.1, 1), (1, 0, 0.1, 1), (1, 1e-5, 0, 1), (1, 1e-5, 1.1, 1), (1, 1e-5, 0.1, 0)],
)
def test_impossible_wishes_are_refused(
    epsilon: float, delta: float, rate: float, count: int
) -> None:
    with pytest.raises(PrivacyError):
        noise_multiplier_for(epsilon, delta, rate, count)


def test_what_is_left_fits_and_hardly_more_does() -> None:
    budget, used = Budget(1.0, DELTA), Tally.of([steps(1.5, 0.01, 500)])
    left = mu_left(budget, used)
    assert (used + Tally(left**2)).epsilon(DELTA) <= budget.epsilon
    assert (used + Tally((left * 1.01) ** 2)).epsilon(DELTA) > budget.epsilon
    assert mu_left(budget, Tally.of([steps(1.0, 0.5, 500)])) == 0


def test_what_gaussian_releases_leave_is_exact() -> None:
    budget = Budget(1.0, DELTA)
    whole = mu_of(1.0, DELTA)
    assert mu_left(budget, Tally(0.25 * whole**2)) == pytest.approx(whole * math.sqrt(0.75))
    assert mu_left(budget, Tally(2 * whole**2)) == 0
