from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data import Interactions, Split, by_labels, leave_one_out, temporal
from recsys.errors import DataError

N_ITEMS = 200
# Toys are numbered in order of purchase, so that a leak shows as a falling number.
lengths = st.lists(st.integers(0, 9), max_size=8)


def rising(counts: list[int]) -> Interactions:
    return Interactions.from_lists([list(range(count)) for count in counts], N_ITEMS)


def check_nothing_leaks_or_is_lost(split: Split, whole: Interactions) -> None:
    assert split.everything().items.tolist() == whole.items.tolist()
    assert split.everything().indptr.tolist() == whole.indptr.tolist()
    for part in (split.train, split.valid, split.test):
        assert part.shopper_ids.tolist() == whole.shopper_ids.tolist()


@given(lengths, st.integers(0, 4))
def test_leave_one_out(counts: list[int], min_history: int) -> None:
    whole = rising(counts)
    split = leave_one_out(whole, min_history)
    check_nothing_leaks_or_is_lost(split, whole)
    for row, count in enumerate(counts):
        held = count >= min_history + 2
        assert split.test.history(row).tolist() == ([count - 1] if held else [])
        assert split.valid.history(row).tolist() == ([count - 2] if held else [])


def test_shoppers_with_two_purchases_stay_in_train() -> None:
    split = leave_one_out(rising([2, 3]))
    assert split.train.lengths.tolist() == [2, 1]
    assert split.before_test().history(1).tolist() == [0, 1]


@given(lengths, st.data())
def test_temporal(counts: list[int], data: st.DataObject) -> None:
    whole = rising(counts)
    times = np.array(
        [
            t
            for n in counts
            for t in sorted(data.draw(st.lists(st.integers(0, 99), min_size=n, max_size=n)))
        ],
        dtype=np.int64,
    )
    split = temporal(whole, times, cuts=(40, 70))
    check_nothing_leaks_or_is_lost(split, whole)
    assert split.train.n_purchases == (times < 40).sum()
    assert split.test.n_purchases == (times >= 70).sum()


def test_temporal_by_fractions_splits_at_common_dates() -> None:
    whole = rising([50, 50])
    times = np.concatenate([np.arange(50) * 2, np.arange(50) * 2 + 1])
    split = temporal(whole, times, valid=0.2, test=0.1)
    assert split.train.lengths.tolist() == [35, 35]
    assert split.test.n_purchases == 10


def test_temporal_refuses_what_cannot_be() -> None:
    whole = rising([3])
    with pytest.raises(DataError, match="times to rise"):
        temporal(whole, np.array([3, 2, 1]))
    with pytest.raises(DataError, match="add up to less than 1"):
        temporal(whole, np.arange(3), valid=0.6, test=0.5)
    with pytest.raises(DataError, match="valid cut before the test cut"):
        temporal(whole, np.arange(3), cuts=(2, 1))
    with pytest.raises(DataError, match="one time for each"):
        temporal(whole, np.arange(2))


def test_labels_and_parts_must_fit() -> None:
    with pytest.raises(DataError, match="0, 1 or 2"):
        by_labels(rising([2]), np.array([0, 3]))
    with pytest.raises(DataError, match="same shoppers"):
        Split(rising([1]), rising([1, 1]), rising([1]))
    with pytest.raises(DataError, match="min_history"):
        leave_one_out(rising([2]), -1)
