"""What rounds compute, against the formulas written out, and what they book."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from recsys.errors import ModelError, PrivacyError
from recsys.models.private_als import (
    PrivateALSSettings,
    SpeedSettings,
    Statistics,
    als_round,
    average_rounds,
    counts_release,
    initial_embeddings,
    make_plan,
    merged_counts,
    quality_release,
    release_statistics,
    solve_items,
    statistics,
)
from recsys.models.private_als.statistics import full_matrices, half_matrices
from recsys.privacy import Budget, GaussianEvent, SecureNoise, compose, mu_of, spent
from tests.recsys.models.private_als.markets import (
    markets,
    random_market,
    settings_of_any_kind,
)

BUDGET = Budget(1.0, 1e-5)
SMALL = PrivateALSSettings(factors=3, rounds=2, count_exponent=0.25, weight_bound=2.0)
WITH_OUTER = dataclasses.replace(SMALL, outer_products=True)
BOTH = pytest.mark.parametrize("settings", [SMALL, WITH_OUTER], ids=["without", "with"])


def by_hand(
    market: Interactions,
    embeddings: np.ndarray,
    counts: np.ndarray,
    settings: PrivateALSSettings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The formulas, one shopper after the other."""
    size = settings.factors
    known = embeddings.astype(float)
    gram, outer = np.zeros((size, size)), np.zeros((market.n_items, size, size))
    linear = np.zeros((market.n_items, size))
    for row in range(market.n_shoppers):
        toys = np.unique(market.history(row))
        if not len(toys):
            continue
        ridge = settings.alpha * known.T @ known + settings.shopper_regularization * np.eye(size)
        u = np.linalg.solve(ridge + known[toys].T @ known[toys], known[toys].sum(axis=0))
        u *= min(1.0, settings.clip / np.linalg.norm(u))
        power = counts[toys] ** (-2 * settings.count_exponent)
        weights = np.sqrt(settings.weight_bound * power / power.sum())
        gram += np.outer(u, u)
        outer[toys] += weights[:, None, None] * np.outer(u, u)
        linear[toys] += weights[:, None] * u
    return gram, outer, linear


@given(markets(), settings_of_any_kind(), st.integers(1, 5))
def test_sums_are_the_formulas(
    market: Interactions, settings: PrivateALSSettings, block: int
) -> None:
    embeddings = initial_embeddings(market.n_items, settings)
    counts = np.random.default_rng(0).uniform(1, 50, market.n_items)
    speed = SpeedSettings(shopper_block=block, block_bytes=8 * block * settings.half_size)
    sums = statistics(market, embeddings, counts, settings, speed)
    gram, outer, linear = by_hand(market, embeddings, counts, settings)
    assert full_matrices(sums.gram) == pytest.approx(gram, rel=1e-6, abs=1e-8)
    if settings.outer_products:
        assert full_matrices(sums.outer) == pytest.approx(outer, rel=1e-6, abs=1e-8)
    else:
        assert sums.outer.shape == (market.n_items, 0)
    assert sums.linear == pytest.approx(linear, rel=1e-6, abs=1e-8)


def repaired(matrix: np.ndarray) -> np.ndarray:
    """Without the negative eigenvalues that noise made."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values.clip(0)) @ vectors.T


@BOTH
def test_toys_are_solved_by_the_formula_with_noise_repaired(settings: PrivateALSSettings) -> None:
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(6, 3, 3))
    matrices += matrices.swapaxes(1, 2)
    linear, counts = rng.normal(size=(5, 3)), np.array([1.0, 4, 0, 10, 5])
    outer = half_matrices(matrices[1:]) if settings.outer_products else np.empty((5, 0))
    noised = Statistics(half_matrices(matrices[0]), outer, linear)
    gram, kappa = repaired(matrices[0]), settings.popularity_weight
    ridge = settings.alpha * gram + settings.item_regularization * np.eye(3)
    for known in (counts, None):
        own = (
            [repaired(matrix) for matrix in matrices[1:]]
            if settings.outer_products
            else [kappa * n / 20 * gram for n in (counts if known is not None else 0 * counts)]
        )
        expected = [np.linalg.solve(a + ridge, b) for a, b in zip(own, linear, strict=True)]
        solved = solve_items(noised, settings, known)
        assert solved.dtype == np.float32
        assert solved == pytest.approx(np.array(expected), rel=1e-5)


@BOTH
def test_a_round_is_its_released_sums_solved(settings: PrivateALSSettings) -> None:
    market, counts = random_market(50, 9, seed=1), np.arange(1.0, 10.0)
    embeddings = initial_embeddings(9, settings)
    plan = make_plan(settings, BUDGET)
    small_blocks = SpeedSettings(shopper_block=7, block_bytes=8 * 2 * settings.half_size)

    def seeded() -> SecureNoise:
        return SecureNoise(np.random.default_rng(5).bytes)

    args = (market, embeddings, counts, settings, plan)
    solved, events = als_round(*args, seeded(), round_number=2)
    sums, same = release_statistics(*args, seeded(), round_number=2)
    assert events == same
    assert np.array_equal(solved, solve_items(sums, settings, counts))
    _, blocked = als_round(*args, seeded(), round_number=2, speed=small_blocks)
    assert blocked == events


@BOTH
def test_blocks_and_threads_change_nothing_but_the_draws(settings: PrivateALSSettings) -> None:
    """With next to no noise, the blocks of a round put together are the round in one piece."""
    market, counts = random_market(50, 9, seed=1), np.arange(1.0, 10.0)
    embeddings = initial_embeddings(9, settings)
    plan = make_plan(settings, Budget(1e7, 1e-5))
    small = SpeedSettings(threads=2, shopper_block=7, block_bytes=8 * 2 * settings.factors)
    args = (market, embeddings, counts, settings, plan, SecureNoise())
    whole, _ = als_round(*args, round_number=1)
    blocked, _ = als_round(*args, round_number=1, speed=small)
    assert blocked == pytest.approx(whole, rel=0.05, abs=0.05 * float(np.abs(whole).max()))


@given(markets(), settings_of_any_kind())
def test_a_study_books_its_plan_and_stays_within_its_budget(
    market: Interactions, settings: PrivateALSSettings
) -> None:
    plan, noise = make_plan(settings, BUDGET), SecureNoise()
    noised, shoppers, events = counts_release(market, settings, plan, noise)
    assert noised.shape == (market.n_items,)
    assert shoppers >= 1
    counts, embeddings = merged_counts([noised]), initial_embeddings(market.n_items, settings)
    for number in range(1, settings.rounds + 1):
        embeddings, more = als_round(
            market, embeddings, counts, settings, plan, noise, round_number=number
        )
        events += more
        assert embeddings.shape == (market.n_items, settings.factors)
        assert embeddings.dtype == np.float32
        assert np.isfinite(embeddings).all()
    figures = np.full((market.n_shoppers, settings.quality_metrics), 0.5)
    sums, _, more = quality_release(figures, settings, plan, noise)
    assert sums.shape == (settings.quality_metrics,)
    events += more
    assert [event.what for event in events] == [event.what for event in plan.events]
    for event, expected in zip(events, plan.events, strict=True):
        assert event.mu <= expected.mu
        assert event.mu == pytest.approx(expected.mu, rel=1e-12)
        assert expected.sensitivity <= event.sensitivity
    assert spent(events, BUDGET.delta) <= BUDGET.epsilon
    assert plan.epsilon == pytest.approx(BUDGET.epsilon, rel=1e-9)
    assert plan.epsilon <= BUDGET.epsilon


@given(settings_of_any_kind(), st.floats(0.1, 20), st.floats(1e-10, 1e-3))
def test_a_plan_spends_all_of_its_budget_and_no_more(
    settings: PrivateALSSettings, epsilon: float, delta: float
) -> None:
    plan = make_plan(settings, Budget(epsilon, delta))
    assert plan.epsilon <= epsilon
    assert compose(plan.events) == pytest.approx(mu_of(epsilon, delta), rel=1e-9)
    rounds = [compose(plan.of(f"als-{t}")) for t in range(1, settings.rounds + 1)]
    assert rounds == pytest.approx([rounds[0]] * settings.rounds)
    parts = compose(plan.of("counts")) ** 2, sum(mu**2 for mu in rounds)
    assert parts[0] / parts[1] == pytest.approx(settings.counts_share / settings.als_share)


def test_the_last_rounds_are_averaged() -> None:
    settings = dataclasses.replace(SMALL, averaged_rounds=2)
    rounds = [np.full((4, 3), value, dtype=np.float32) for value in (100, 1, 2)]
    averaged = average_rounds(rounds, settings)
    assert averaged.dtype == np.float32
    assert averaged == pytest.approx(1.5)
    assert average_rounds(rounds[:1], settings) == pytest.approx(100)
    with pytest.raises(ModelError, match="one round or more"):
        average_rounds([], settings)
    with pytest.raises(ModelError, match="of one shape"):
        average_rounds([rounds[0], rounds[0][:2]], settings)


def test_without_a_share_quality_is_not_released() -> None:
    settings = dataclasses.replace(SMALL, quality_share=0.0)
    plan = make_plan(settings, BUDGET)
    assert list(plan.phases) == ["counts", "als-1", "als-2"]
    with pytest.raises(PrivacyError, match="phase among"):
        quality_release(np.zeros((3, 2)), settings, plan, SecureNoise())


def test_quality_is_told_about_right() -> None:
    plan = make_plan(SMALL, Budget(8.0, 1e-5))
    figures = np.random.default_rng(0).uniform(0, 0.5, (20_000, 2))
    sums, shoppers, (event,) = quality_release(figures, SMALL, plan, SecureNoise())
    assert shoppers == pytest.approx(20_000, abs=8 * event.sigma)
    assert sums / shoppers == pytest.approx(figures.mean(axis=0), abs=8 * event.sigma / 20_000)


@BOTH
def test_noised_embeddings_approach_the_exact_ones_as_the_budget_grows(
    settings: PrivateALSSettings,
) -> None:
    market, counts = random_market(2000, 6, seed=2), np.ones(6)
    embeddings = initial_embeddings(6, settings)
    exact = solve_items(statistics(market, embeddings, counts, settings), settings, counts)
    plan = make_plan(settings, Budget(1e7, 1e-5))
    noised, _ = als_round(market, embeddings, counts, settings, plan, SecureNoise(), round_number=1)
    assert noised == pytest.approx(exact, rel=0.02, abs=0.02 * float(np.abs(exact).max()))


def test_buying_a_toy_twice_counts_once() -> None:
    once, twice = Interactions.from_lists([[0, 1]], 3), Interactions.from_lists([[1, 0, 1, 1]], 3)
    embeddings, counts = initial_embeddings(3, SMALL), np.ones(3)
    left = statistics(once, embeddings, counts, WITH_OUTER)
    right = statistics(twice, embeddings, counts, WITH_OUTER)
    assert np.array_equal(left.outer, right.outer)
    assert np.array_equal(left.linear, right.linear)


def test_settings_survive_json_and_unknown_ones_are_refused() -> None:
    assert PrivateALSSettings.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL
    with pytest.raises(PrivacyError, match="gama"):
        PrivateALSSettings.from_dict({"gama": 1.0})


@pytest.mark.parametrize(
    "change",
    [
        {"factors": 0},
        {"rounds": True},
        {"clip": 0.0},
        {"weight_bound": -1.0},
        {"count_bound": 1.5},
        {"averaged_rounds": 0},
        {"count_exponent": 0.6},
        {"gram_noise": math.inf},
        {"als_share": 0.0},
        {"alpha": math.nan},
        {"item_regularization": 0.0},
        {"outer_products": 1},
        {"popularity_weight": -1.0},
    ],
)
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    (name,) = change
    with pytest.raises(PrivacyError, match=name):
        dataclasses.replace(SMALL, **change)


def test_a_plan_of_other_settings_is_refused() -> None:
    other = make_plan(dataclasses.replace(SMALL, clip=2.0), BUDGET)
    market = random_market(5, 4, seed=0)
    with pytest.raises(PrivacyError, match="settings that the plan was made from"):
        counts_release(market, SMALL, other, SecureNoise())
    with pytest.raises(PrivacyError, match="settings that the plan was made from"):
        als_round(
            market,
            initial_embeddings(4, SMALL),
            np.ones(4),
            SMALL,
            other,
            SecureNoise(),
            round_number=1,
        )


@pytest.mark.parametrize("number", [0, 3])
def test_rounds_outside_the_plan_are_refused(number: int) -> None:
    plan = make_plan(SMALL, BUDGET)
    embeddings = initial_embeddings(4, SMALL)
    with pytest.raises(PrivacyError, match="phase among"):
        als_round(
            random_market(5, 4, seed=0),
            embeddings,
            np.ones(4),
            SMALL,
            plan,
            SecureNoise(),
            round_number=number,
        )


@pytest.mark.parametrize("kind", ["shape", "nan", "counts", "few counts"])
def test_bad_public_inputs_are_refused(kind: str) -> None:
    embeddings, counts = initial_embeddings(4, SMALL), np.ones(4)
    if kind == "shape":
        embeddings = embeddings[:, :2]
    elif kind == "nan":
        embeddings[0, 0] = np.nan
    elif kind == "counts":
        counts[2] = 0
    else:
        counts = counts[:3]
    with pytest.raises(ModelError, match="Expected"):
        statistics(random_market(5, 4, seed=0), embeddings, counts, SMALL)


def test_merged_counts_are_positive_and_need_a_merchant() -> None:
    assert merged_counts([np.array([-5.0, 3.0]), np.array([1.0, 4.0])]) == pytest.approx([1, 7])
    with pytest.raises(ModelError, match="one merchant or more"):
        merged_counts([])


def test_quality_of_another_width_is_refused() -> None:
    with pytest.raises(ModelError, match="2 figures"):
        quality_release(np.zeros((4, 3)), SMALL, make_plan(SMALL, BUDGET), SecureNoise())


def test_planned_noise_is_the_papers() -> None:
    gram, outer, linear = make_plan(WITH_OUTER, BUDGET).of("als-1")
    assert isinstance(gram, GaussianEvent)
    assert gram.sigma / linear.sigma == pytest.approx(SMALL.gram_noise * SMALL.clip)
    assert outer.sigma / linear.sigma == pytest.approx(SMALL.outer_noise * SMALL.clip)


def test_what_is_not_released_costs_nothing_and_leaves_less_noise_on_the_rest() -> None:
    gram, linear = make_plan(SMALL, BUDGET).of("als-1")
    assert [gram.what, linear.what] == ["als-1 gram", "als-1 linear"]
    assert gram.sigma / linear.sigma == pytest.approx(SMALL.gram_noise * SMALL.clip)
    with_outer = make_plan(WITH_OUTER, BUDGET).of("als-1")
    assert linear.sigma < with_outer[2].sigma
    assert compose([gram, linear]) == pytest.approx(compose(with_outer))
