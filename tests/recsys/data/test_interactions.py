from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data import Interactions
from recsys.errors import DataError

N_ITEMS = 7
histories = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=8), max_size=6)
rows_of_purchases = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, N_ITEMS - 1), st.integers(-3, 3)), max_size=30
)


def lists(interactions: Interactions) -> list[list[int]]:
    return [interactions.history(row).tolist() for row in range(interactions.n_shoppers)]


@given(histories)
def test_lists_come_back(made: list[list[int]]) -> None:
    interactions = Interactions.from_lists(made, N_ITEMS)
    assert lists(interactions) == made
    assert interactions.indptr.dtype == np.int64
    assert interactions.items.dtype == np.int32


@given(rows_of_purchases)
def test_columns_are_sorted_stably_by_shopper_and_order(
    purchases: list[tuple[str, int, int]],
) -> None:
    shoppers, items, order = zip(*purchases, strict=True) if purchases else ((), (), ())
    made = Interactions.from_columns(shoppers, items, order, N_ITEMS)
    assert made.shopper_ids.tolist() == sorted(set(shoppers))
    for row, shopper in enumerate(made.shopper_ids):
        mine = sorted((p for p in purchases if p[0] == shopper), key=lambda p: p[2])
        assert made.history(row).tolist() == [item for _, item, _ in mine]


@given(histories, st.integers(0, 9))
def test_last_keeps_the_newest(made: list[list[int]], k: int) -> None:
    kept = Interactions.from_lists(made, N_ITEMS).last(k)
    assert lists(kept) == [history[max(len(history) - k, 0) :] for history in made]


@given(histories, st.data())
def test_append_and_rows(made: list[list[int]], data: st.DataObject) -> None:
    more = [data.draw(st.lists(st.integers(0, N_ITEMS - 1), max_size=4)) for _ in made]
    both = Interactions.from_lists(made, N_ITEMS).append(Interactions.from_lists(more, N_ITEMS))
    assert lists(both) == [a + b for a, b in zip(made, more, strict=True)]
    chosen = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=5)) if made else []
    assert lists(both.rows(chosen)) == [made[row] + more[row] for row in chosen]


@given(histories, st.floats(0.1, 1.0))
def test_recency_weights_equal_their_definition(made: list[list[int]], decay: float) -> None:
    expected = np.zeros((len(made), N_ITEMS), dtype=np.float32)
    for row, history in enumerate(made):
        for age, item in enumerate(reversed(history)):
            expected[row, item] = max(expected[row, item], np.float32(decay**age))
    interactions = Interactions.from_lists(made, N_ITEMS)
    np.testing.assert_allclose(interactions.recency_csr(decay).toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(interactions.csr().toarray(), expected > 0)
    np.testing.assert_array_equal(interactions.item_counts(), (expected > 0).sum(axis=0))
    assert interactions.csr().dtype == interactions.recency_csr(decay).dtype == np.float32


def test_matrices_are_canonical() -> None:
    matrix = Interactions.from_lists([[3, 1, 3], [], [0]], N_ITEMS).csr()
    assert matrix.has_canonical_format
    assert matrix.indptr.tolist() == [0, 2, 2, 3]


def test_decay_outside_zero_and_one_is_refused() -> None:
    with pytest.raises(DataError, match=r"decay from 0 to 1; found 1\.5"):
        Interactions.from_lists([[1]], N_ITEMS).recency_csr(1.5)


@pytest.mark.parametrize("toy", [-1, N_ITEMS, 2**32])
def test_toys_outside_the_catalogue_are_refused(toy: int) -> None:
    with pytest.raises(DataError, match="catalogue"):
        Interactions.from_lists([[toy]], N_ITEMS)
    with pytest.raises(DataError, match="catalogue"):
        Interactions.from_columns(["a"], [toy], [0], N_ITEMS)


def test_broken_arrays_are_refused() -> None:
    ids = np.array(["a", "b"], dtype=object)
    items = np.array([1, 2], dtype=np.int32)
    for indptr in ([0, 2], [0, 1, 1], [0, 3, 2], [1, 1, 2]):
        with pytest.raises(DataError, match="indptr"):
            Interactions(np.array(indptr), items, ids, N_ITEMS)
    with pytest.raises(DataError, match="one length"):
        Interactions.from_columns(["a"], [1, 2], [0, 0], N_ITEMS)


def test_append_refuses_other_shoppers() -> None:
    ours = Interactions.from_lists([[1]], N_ITEMS, ["anna"])
    with pytest.raises(DataError, match="same shoppers") as caught:
        ours.append(Interactions.from_lists([[1]], N_ITEMS, ["bert"]))
    assert "anna" not in str(caught.value)
    assert "bert" not in str(caught.value)


def test_repr_shows_nothing_private() -> None:
    text = repr(Interactions.from_lists([[1, 2], [3]], 4321, ["anna", "bert"]))
    assert "anna" not in text
    assert text == "Interactions(n_items=4321, shoppers and purchases not shown)"
