"""One shopper fewer changes every released sum by no more than what its noise was made for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from recsys.evaluation import evaluate
from recsys.models import SharedEmbeddings
from recsys.models.private_als import (
    PrivateALSSettings,
    exact_counts,
    exact_quality,
    initial_embeddings,
    make_plan,
    statistics,
)
from recsys.models.private_als.statistics import full_matrices, half_matrices
from recsys.privacy import Budget
from tests.recsys.models.private_als.markets import (
    markets,
    random_market,
    settings_of_any_kind,
    without,
)

ROUNDING = 1 + 1e-9  # floating-point summation; the grid of the noise allows for more
BUDGET = Budget(1.0, 1e-5)


def planned(settings: PrivateALSSettings, phase: str) -> list[float]:
    return [event.sensitivity for event in make_plan(settings, BUDGET).of(phase)]


@given(st.data(), markets(least=1), settings_of_any_kind())
def test_statistics(
    data: st.DataObject, market: Interactions, settings: PrivateALSSettings
) -> None:
    shopper = data.draw(st.integers(0, market.n_shoppers - 1))
    rng = np.random.default_rng(settings.seed)
    embeddings = initial_embeddings(market.n_items, settings)
    counts = rng.uniform(1, 50, market.n_items)
    before = statistics(market, embeddings, counts, settings)
    after = statistics(without(market, shopper), embeddings, counts, settings)
    gram, *outer, linear = planned(settings, "als-1")
    clip, bound = settings.clip, settings.weight_bound
    assert gram == pytest.approx(clip**2)
    assert linear == pytest.approx(math.sqrt(bound) * clip)
    assert np.linalg.norm(before.gram - after.gram) <= gram * ROUNDING
    assert np.linalg.norm(before.linear - after.linear) <= linear * ROUNDING
    if settings.outer_products:
        assert outer == [pytest.approx(math.sqrt(bound) * clip**2)]
        assert np.linalg.norm(before.outer - after.outer) <= outer[0] * ROUNDING
    else:
        assert outer == []
        assert before.outer.size == after.outer.size == 0


@pytest.mark.attack
@pytest.mark.parametrize(("shoppers", "toys"), [(31, 40), (13, 100), (5, 300), (8, 40), (16, 40)])
def test_nobodys_figures_change_with_who_stands_beside_her(shoppers: int, toys: int) -> None:
    """A state of nearly equal vectors turns last bits of scores into ranks."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.standard_normal((1, 64)), toys, axis=0).astype(np.float32)
    for _ in range(3):
        cells = np.arange(toys), rng.integers(0, 64, toys)
        vectors[cells] = np.nextafter(vectors[cells], np.float32(10))
    model = SharedEmbeddings(vectors, alpha=2.0, regularization=0.01)

    def figures(n: int, target: int) -> np.ndarray:
        known = Interactions.from_lists([[0]] * n, toys)
        wanted = Interactions.from_lists([[target]] * n, toys)
        measured = evaluate(model, known, wanted, alone=True).per_shopper
        return np.column_stack([measured["hr@10"], measured["ndcg@10"]])

    bound = math.sqrt(2 / 4 + 1) * ROUNDING
    for target in range(1, toys):
        whole, rest = figures(shoppers, target), figures(shoppers - 1, target)
        assert np.array_equal(whole[1:], rest)
        assert np.linalg.norm(exact_quality(whole) - exact_quality(rest)) <= bound


EXTREMES = [5e-324, 1e-308, 1e-154, 1.0, 7.0, 1e154, 1e200, 1.7e308]


@pytest.mark.attack
@given(st.data(), markets(least=1), settings_of_any_kind())
def test_no_state_lifts_a_shopper_above_the_noise(
    data: st.DataObject, market: Interactions, settings: PrivateALSSettings
) -> None:
    """The state is not bound by the approval: a data scientist may send any counts and vectors."""
    shopper = data.draw(st.integers(0, market.n_shoppers - 1))
    of_toys = st.lists(st.sampled_from(EXTREMES), min_size=market.n_items, max_size=market.n_items)
    counts = np.array(data.draw(of_toys))
    sizes = st.sampled_from([0.0, -0.0, 1e-38, -1.0, 1.0, 1e20, 3e38, -3e38])
    cells = market.n_items * settings.factors
    drawn = data.draw(st.lists(sizes, min_size=cells, max_size=cells))
    embeddings = np.array(drawn, dtype=np.float32).reshape(market.n_items, settings.factors)
    before = statistics(market, embeddings, counts, settings)
    after = statistics(without(market, shopper), embeddings, counts, settings)
    gram, *outer, linear = planned(settings, "als-1")
    for name, bound in (("gram", gram), ("linear", linear), ("outer", sum(outer))):
        whole, rest = getattr(before, name), getattr(after, name)
        assert np.isfinite(whole).all()
        assert np.isfinite(rest).all()
        assert np.linalg.norm(whole - rest) <= bound * ROUNDING


def test_the_bounds_are_reached_so_they_are_not_loose() -> None:
    settings = PrivateALSSettings(
        factors=3,
        clip=0.5,
        weight_bound=2.0,
        outer_products=True,
        shopper_regularization=1e-9,
    )
    market = random_market(40, 10, seed=0)
    embeddings = initial_embeddings(10, settings)
    counts = np.arange(1.0, 11.0)
    before = statistics(market, embeddings, counts, settings)
    after = statistics(without(market, 0), embeddings, counts, settings)
    gram, outer, linear = planned(settings, "als-1")
    assert np.linalg.norm(before.gram - after.gram) == pytest.approx(gram, rel=1e-6)
    assert np.linalg.norm(before.outer - after.outer) == pytest.approx(outer, rel=1e-6)
    assert np.linalg.norm(before.linear - after.linear) == pytest.approx(linear, rel=1e-6)


@given(st.data(), markets(least=1), st.integers(1, 5), st.integers(0, 2**32))
def test_counts(data: st.DataObject, market: Interactions, bound: int, seed: int) -> None:
    shopper = data.draw(st.integers(0, market.n_shoppers - 1))
    bought = market.csr()
    keys = np.random.default_rng(seed).random(bought.nnz)
    others = np.ones(bought.nnz, dtype=bool)
    others[bought.indptr[shopper] : bought.indptr[shopper + 1]] = False
    before = exact_counts(market, bound, keys)
    after = exact_counts(without(market, shopper), bound, keys[others])
    (sensitivity,) = planned(PrivateALSSettings(count_bound=bound), "counts")
    assert sensitivity == pytest.approx(math.sqrt(bound + 1))
    assert before[-1] - after[-1] == 1
    assert np.linalg.norm(before[:-1] - after[:-1]) <= math.sqrt(bound)
    assert np.linalg.norm(before - after) <= sensitivity


@given(
    st.lists(st.lists(st.floats(), min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0)
)
def test_quality(figures: list[list[float]], row: int) -> None:
    per_shopper = np.array(figures)
    before = exact_quality(per_shopper)
    after = exact_quality(np.delete(per_shopper, row % len(figures), axis=0))
    (sensitivity,) = planned(PrivateALSSettings(quality_metrics=3), "quality")
    assert sensitivity == pytest.approx(math.sqrt(3 / 4 + 1))
    assert np.linalg.norm(before - after) <= sensitivity * ROUNDING


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_half_vectors_have_the_norm_of_their_matrices(size: int, seed: int) -> None:
    matrices = np.random.default_rng(seed).normal(size=(4, size, size))
    matrices += matrices.swapaxes(1, 2)
    halves = half_matrices(matrices)
    assert halves.shape == (4, size * (size + 1) // 2)
    assert full_matrices(halves) == pytest.approx(matrices)
    assert np.linalg.norm(halves, axis=1) == pytest.approx(np.linalg.norm(matrices, axis=(1, 2)))
