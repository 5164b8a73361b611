"""What one shopper can change in the released sums, and what the sums are."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data import Interactions
from recsys.errors import ModelError, PrivacyError
from recsys.models.co_purchase import (
    CoPurchaseSettings,
    PairCells,
    counts_release,
    exact_pairs,
    make_plan,
    pair_cells,
    pairs_release,
)
from recsys.models.content import catalogue_features
from recsys.models.private_als import exact_counts
from recsys.privacy import Budget, SecureNoise, spent
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

SETTINGS = CoPurchaseSettings(pairs_per_toy=5)
CELLS = pair_cells(toy_catalogue(), SETTINGS.pairs_per_toy)
HISTORY = st.lists(st.integers(0, N_ITEMS - 1), max_size=40)


def cells_of(*pairs: tuple[int, int]) -> PairCells:
    return PairCells(np.array(pairs, np.int32), np.full(len(pairs), 0.5, np.float32), N_ITEMS)


def test_pairs_are_those_that_the_definition_counts() -> None:
    shop = toy_purchases(40)
    expected = np.zeros(CELLS.n_cells)
    place = {tuple(pair): n for n, pair in enumerate(CELLS.toys[: CELLS.n_listed].tolist())}
    for row in range(shop.n_shoppers):
        one, history = np.zeros(CELLS.n_cells), shop.history(row).tolist()
        for (a, i), (b, j) in itertools.combinations(enumerate(history), 2):
            cell = place.get((min(i, j), max(i, j)))
            if cell is not None and b - a <= SETTINGS.window:
                one[cell] += SETTINGS.gap_decay ** (b - a - 1)
        expected += one / max(1.0, float(np.linalg.norm(one)))
    assert expected.sum() > 5
    np.testing.assert_allclose(exact_pairs(shop, CELLS, SETTINGS), expected, atol=1e-7)


@given(HISTORY)
def test_a_shopper_changes_the_pairs_by_at_most_one(history: list[int]) -> None:
    shop = toy_purchases(12)
    with_her = Interactions.from_lists([*map(shop.history, range(12)), history], N_ITEMS)
    change = exact_pairs(with_her, CELLS, SETTINGS) - exact_pairs(shop, CELLS, SETTINGS)
    assert np.linalg.norm(change) <= 1.0 + 1e-9


def test_a_shopper_who_buys_a_lot_is_cut_to_length_one() -> None:
    greedy = Interactions.from_lists([list(range(N_ITEMS)) * 3], N_ITEMS)
    assert np.linalg.norm(exact_pairs(greedy, CELLS, SETTINGS)) == pytest.approx(1.0)
    assert np.linalg.norm(exact_pairs(greedy, CELLS, SETTINGS, clip=False)) > 5


@given(HISTORY)
def test_a_shopper_changes_the_counts_by_the_bound(history: list[int]) -> None:
    shopper = Interactions.from_lists([history], N_ITEMS)
    keys = np.random.default_rng(0).random(shopper.csr().nnz)
    assert np.linalg.norm(exact_counts(shopper, 5, keys)) <= np.sqrt(6) + 1e-9


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_both_releases_together_cost_the_budget(epsilon: float) -> None:
    events = make_plan(SETTINGS, Budget(epsilon, 1e-5)).phases.values()
    assert spent(list(events), 1e-5) == pytest.approx(epsilon, rel=1e-6)
    assert spent(list(events), 1e-5) <= epsilon


def test_released_sums_have_the_planned_noise() -> None:
    shop, plan = toy_purchases(50), make_plan(SETTINGS, Budget(1.0, 1e-5))
    pairs, event = pairs_release(shop, CELLS, plan, SecureNoise())
    counts, shoppers, counted = counts_release(shop, plan, SecureNoise())
    assert pairs.dtype == np.float32
    assert event.mu == pytest.approx(plan.phases["pairs"].mu)
    assert counted.mu == pytest.approx(plan.phases["counts"].mu)
    residual = (pairs - exact_pairs(shop, CELLS, SETTINGS)) / plan.phases["pairs"].sigma
    assert 0.7 < residual.std() < 1.3
    assert abs(shoppers - 50) < 8 * counted.sigma
    assert counts.shape == (N_ITEMS,)


def test_the_order_of_shoppers_and_empty_shops_do_not_matter() -> None:
    shop = toy_purchases(30)
    turned = shop.rows(np.arange(30)[::-1])
    np.testing.assert_array_equal(
        exact_pairs(shop, CELLS, SETTINGS), exact_pairs(turned, CELLS, SETTINGS)
    )
    for histories in ([], [[]], [[3]], [[3, 3]]):
        nobody = Interactions.from_lists(histories, N_ITEMS)
        assert not exact_pairs(nobody, CELLS, SETTINGS).any()


@pytest.mark.parametrize(
    "pairs",
    [
        [(1, 2), (1, 2)],  # one shopper would count twice
        [(2, 1)],
        [(1, 1)],
        [(0, N_ITEMS)],
        [(-1, 2)],
        [(-1, -1), (1, 2)],  # padding belongs at the end
        [(3, 4), (1, 2)],
    ],
)
def test_lists_that_would_break_the_bound_are_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(ModelError, match="pairs of toys"):
        cells_of(*pairs)


def test_another_catalogue_is_refused() -> None:
    with pytest.raises(ModelError, match="one catalogue"):
        exact_pairs(Interactions.from_lists([[0]], N_ITEMS + 1), CELLS, SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [{"window": 0}, {"gap_decay": 2}, {"pairs_share": 0}, {"pairs_per_toy": 1.5}, {"rounds": 3}],
)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PrivacyError):
        CoPurchaseSettings.from_dict(wrong)


def test_the_list_holds_every_toys_nearest_and_is_as_long_as_promised() -> None:
    assert CELLS.n_cells == N_ITEMS * SETTINGS.pairs_per_toy
    assert CELLS.n_listed == CELLS.n_cells
    listed = set(map(tuple, CELLS.toys.tolist()))
    # Toys 0, 4, 8, ... are all wooden trains; of these, 0 and 20 share the brand too.
    assert (0, 20) in listed
    assert np.mean([i % 4 == j % 4 for i, j in listed]) > 0.8  # by chance 0.23


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_small_catalogues_fill_the_list_up(n_items: int) -> None:
    cells = pair_cells(toy_catalogue(n_items, title=["train"] * n_items), 4)
    assert cells.n_cells == 4 * n_items
    assert cells.n_listed == n_items * (n_items - 1) // 2
    shop = Interactions.from_lists([list(range(n_items))], n_items)
    assert exact_pairs(shop, cells, SETTINGS).sum() == pytest.approx(cells.n_listed**0.5, rel=0.2)


def test_a_catalogue_without_texts_lists_nothing() -> None:
    blank = [""] * N_ITEMS
    cells = pair_cells(toy_catalogue(title=blank, category_path=blank, brand=blank), 5)
    assert cells.n_listed == 0
    assert not exact_pairs(toy_purchases(20), cells, SETTINGS).any()


def test_shops_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = toy_purchases(60)
    whole = exact_pairs(shop, CELLS, SETTINGS)
    monkeypatch.setattr("recsys.models.co_purchase.statistics._PAIRS", 40)
    np.testing.assert_array_equal(exact_pairs(shop, CELLS, SETTINGS), whole)


@pytest.mark.attack
def test_memory_does_not_tell_of_one_shopper() -> None:
    heavy = [list(CELLS.toys[0]) * 500] * 300
    widest = CoPurchaseSettings(window=50, gap_decay=1.0)
    peaks = []
    for histories in (heavy, [*heavy, heavy[0]]):
        shop = Interactions.from_lists(histories, N_ITEMS)
        exact_pairs(shop, CELLS, widest)
        tracemalloc.start()
        exact_pairs(shop, CELLS, widest)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 40 * 1024 * 1024
    assert abs(peaks[1] - peaks[0]) < 200 * 1024


def test_of_endless_histories_the_newest_purchases_count() -> None:
    (first, second), (third, fourth) = CELLS.toys[0], CELLS.toys[-1]
    history = [first, second] + [third, fourth] * 500
    found = exact_pairs(Interactions.from_lists([history], N_ITEMS), CELLS, SETTINGS)
    assert found[0] == 0
    assert found[-1] == pytest.approx(1.0)


def test_toys_are_paired_with_their_nearest_of_all_and_twins_in_order() -> None:
    titles = [f"{'red' if toy < 5 else 'blue'} train number{toy % 3}" for toy in range(N_ITEMS)]
    catalogue = toy_catalogue(title=titles)
    features = catalogue_features(catalogue)
    cosines = np.round((features @ features.T).toarray(), 5)
    np.fill_diagonal(cosines, -1)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, 0]
    listed = set(map(tuple, pair_cells(catalogue, 1).toys.tolist()))
    assert {(min(i, j), max(i, j)) for i, j in enumerate(nearest.tolist())} <= listed


@pytest.mark.parametrize("titles", [["train"], ["train", "", "puzzle box"]])
def test_a_large_catalogue_is_compared_by_its_rarer_words(
    titles: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_items = 120
    words = [f"{titles[toy % len(titles)]} word{toy // 6} red" for toy in range(n_items)]
    catalogue = toy_catalogue(n_items, title=words)
    whole = pair_cells(catalogue, 3)
    monkeypatch.setattr("recsys.models.co_purchase.cells.COMPARED", n_items - 1)
    monkeypatch.setattr("recsys.models.co_purchase.cells._STEPS", 500)
    # Words that six toys share fit in; "red", which all have, adds nothing that tells them apart.
    some = pair_cells(catalogue, 3)
    listed = set(map(tuple, some.toys[: some.n_listed].tolist()))
    assert some.n_cells == whole.n_cells
    assert {(6 * group, 6 * group + len(titles)) for group in range(20)} <= listed
    assert np.isin(some.keys, whole.keys).mean() > 0.9
    found = dict(zip(whole.keys.tolist(), whole.similarity.tolist(), strict=False))
    alike = [
        (found[k], s)
        for k, s in zip(some.keys.tolist(), some.similarity, strict=False)
        if k in found
    ]
    np.testing.assert_allclose(*map(np.array, zip(*alike, strict=True)), atol=1e-6)


def test_a_large_catalogue_whose_toys_share_only_common_words_lists_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recsys.models.co_purchase.cells.COMPARED", 4)
    blank = [""] * N_ITEMS
    catalogue = toy_catalogue(title=["red"] * N_ITEMS, category_path=blank, brand=blank)
    assert pair_cells(catalogue, 2).n_listed == 0
