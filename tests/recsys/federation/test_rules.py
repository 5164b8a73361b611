"""What holds for every named merge, whatever it does."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from recsys.errors import ModelError
from recsys.federation import (
    DEFAULT_MERGE,
    Update,
    merge_named,
    merge_names,
)
from recsys.privacy import GaussianEvent

every = pytest.mark.parametrize("name", merge_names())
SIGMA = 3.0


def update(x: np.ndarray, merchant: str, size: float = 1.0, support: float = 5.0) -> Update:
    arrays = {"x": x, "n": np.full(len(x), support)}
    return Update(arrays, size, (GaussianEvent("x", 1.0, 7.0),), merchant)


def updates(seed: int = 0) -> list[Update]:
    rng = np.random.default_rng(seed)
    return [
        update(rng.normal(size=(6, 3)), name, size, 2 * size)
        for name, size in (("a", 3.0), ("b", 40.0), ("c", 900.0))
    ]


def merged(
    name: str, given: list[Update], state: dict[str, np.ndarray] | None = None
) -> np.ndarray:
    shape = given[0].arrays["x"].shape if given else (6, 3)
    return merge_named(name).apply(given, "x", np.zeros(shape), state or {}, "n", SIGMA)[0]


@every
def test_the_order_of_merchants_does_not_matter(name: str) -> None:
    np.testing.assert_allclose(merged(name, updates()), merged(name, updates()[::-1]), rtol=1e-12)


@pytest.mark.parametrize("name", ["fedavg", "equal", "capped", "support", "fedavgm", "fedadam"])
def test_the_unit_of_sizes_does_not_matter(name: str) -> None:
    xs = np.random.default_rng(3).normal(size=(2, 6, 3))
    few, many = (
        [update(x, "a", k * s, k * s) for x, s in zip(xs, (1.0, 3.0), strict=True)]
        for k in (1.0, 1e5)
    )
    np.testing.assert_allclose(merged(name, few), merged(name, many))


@every
def test_the_names_of_merchants_do_not_matter(name: str) -> None:
    one, other = update(np.ones((2, 2)), "a", 5.0), update(np.zeros((2, 2)), "b", 9.0)
    renamed = [update(np.ones((2, 2)), "z", 5.0), update(np.zeros((2, 2)), "y", 9.0)]
    np.testing.assert_array_equal(merged(name, [one, other]), merged(name, renamed))


@every
def test_merchants_that_agree_are_not_contradicted(name: str) -> None:
    x = np.random.default_rng(1).normal(size=(6, 3))
    alone, three = merged(name, [update(x, "a")]), merged(name, [update(x, m) for m in "abc"])
    if merge_named(name).sums:
        np.testing.assert_allclose(three, 3 * x)
    elif name == "shrunk":  # three merchants who agree are believed more than one
        assert np.abs(three - x).max() < np.abs(alone - x).max()
    else:
        np.testing.assert_allclose(three, alone)


@pytest.mark.parametrize("name", sorted(set(merge_names()) - {"shrunk", "fedadam", "fedyogi"}))
def test_one_merchant_gets_back_what_it_sent(name: str) -> None:
    x = np.random.default_rng(2).normal(size=(6, 3))
    np.testing.assert_allclose(merged(name, [update(x, "a")]), x)


@every
def test_rows_that_nobody_supports_stay_finite(name: str) -> None:
    given = [update(np.ones((4, 2)), m, support=s) for m, s in (("a", 0.0), ("b", -7.0))]
    assert np.isfinite(merged(name, given)).all()


@every
def test_a_merchant_without_shoppers_stays_finite(name: str) -> None:
    given = [update(np.ones((4, 2)), "a", size=0.0, support=0.0), update(np.ones((4, 2)), "b")]
    assert np.isfinite(merged(name, given)).all()


@every
def test_huge_values_of_one_merchant_stay_finite(name: str) -> None:
    most = np.finfo(np.float64).max
    bad = update(np.full((6, 3), most), "bad", 1e308, 1e308)
    state: dict[str, np.ndarray] = {}
    for _ in range(3):
        x, entries = merge_named(name).apply(
            [*updates(), bad, bad], "x", np.ones((6, 3)), state, "n"
        )
        state |= entries
        assert np.isfinite(x).all()
        assert all(np.isfinite(array).all() for array in state.values())


@every
def test_no_merchants_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="at least one merchant"):
        merged(name, [])


@every
def test_missing_arrays_and_other_shapes_are_refused_with_the_merchant_named(name: str) -> None:
    for wrong in (update(np.ones((7, 3)), "bad"), Update({"n": np.ones(6)}, 1.0, (), "bad")):
        with pytest.raises(ModelError, match="'bad'"):
            merged(name, [*updates(), wrong])


@every
def test_a_study_that_is_killed_after_each_round_ends_with_the_same_bits(name: str) -> None:
    merge = merge_named(name)

    def run(killed: bool) -> np.ndarray:
        state = {"x": np.zeros((6, 3))}
        for seed in range(4):
            x, entries = merge.apply(updates(seed), "x", state["x"], state, "n", SIGMA)
            state |= entries | {"x": x}
            if killed:
                state = load(save(state))
        return state["x"]

    np.testing.assert_array_equal(run(killed=True), run(killed=False))


@pytest.mark.parametrize("name", ["support", "precision", "shrunk"])
def test_merges_by_row_say_that_they_need_counts(name: str) -> None:
    with pytest.raises(ModelError, match="counts for the rows"):
        merge_named(name).apply(updates(), "x", np.zeros((6, 3)), {})


def test_an_unknown_name_is_answered_with_the_list() -> None:
    with pytest.raises(ModelError, match=r"fedavg.*support.*found 'median'"):
        merge_named("median")


def test_the_default_exists_and_every_merge_is_described() -> None:
    assert DEFAULT_MERGE in merge_names()
    assert all(merge_named(name).about.endswith(".") for name in merge_names())


def test_equal_and_capped_hold_a_giant_back() -> None:
    giant, small = update(np.zeros((1, 1)), "giant", 1e6), update(np.ones((1, 1)), "small", 1.0)
    third = update(np.ones((1, 1)), "third", 1.0)
    given = [giant, small, third]
    assert merged("fedavg", given) == pytest.approx(0.0, abs=1e-5)
    assert merged("capped", given) == pytest.approx(0.5)
    assert merged("equal", given) == pytest.approx(2 / 3)
