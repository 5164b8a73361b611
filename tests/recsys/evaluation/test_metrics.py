"""Metrics against hand cases, a plain-loop oracle, and figures of well-known libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data import Interactions
from recsys.errors import ModelError
from recsys.evaluation import combine, evaluate
from recsys.evaluation.metrics import coverage, novelty, rank_metrics, target_ranks
from recsys.models import Popularity
from tests.contracts.recommenders import toy_catalogue, toy_purchases
from tests.recsys.evaluation.reference import FIGURES, HISTORIES, SCORES, TARGETS


def evaluated(scores, histories, targets, **more):
    scores = np.array(scores, dtype=np.float32)
    n_items = scores.shape[1]
    rows = Interactions.from_lists(histories, n_items)
    by_id = {name: row for row, name in enumerate(rows.shopper_ids)}

    def score(part: Interactions) -> np.ndarray:
        return scores[[by_id[name] for name in part.shopper_ids]]

    return evaluate(score, rows, Interactions.from_lists(targets, n_items), **more)


@pytest.mark.parametrize("case", ["single", "several"])
def test_figures_agree_with_ranx_and_rectools(case: str) -> None:
    overall = evaluated(SCORES, HISTORIES, TARGETS[case]).overall()
    for name, expected in FIGURES[case].items():
        assert overall[name] == pytest.approx(expected, abs=1e-9), name


def test_one_target_by_hand() -> None:
    # The target is third of four unseen toys.
    found = evaluated([[9, 5, 4, 3, 1]], [[0]], [[3]], ks=(2, 3)).overall()
    assert found["hr@2"] == found["ndcg@2"] == found["mrr@2"] == found["recall@2"] == 0
    assert found["hr@3"] == found["recall@3"] == 1
    assert found["ndcg@3"] == pytest.approx(1 / math.log2(4))
    assert found["mrr@3"] == pytest.approx(1 / 3)
    assert found["coverage@3"] == pytest.approx(3 / 5)
    assert found["n"] == 1


def test_two_targets_by_hand() -> None:
    found = evaluated([[5, 4, 3, 2, 1, 0]], [[]], [[1, 4]], ks=(3,)).overall()
    assert found["hr@3"] == 1
    assert found["recall@3"] == 0.5
    assert found["mrr@3"] == 0.5
    assert found["ndcg@3"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


def test_ties_count_half() -> None:
    ranks = ranks_of([[1, 1, 1, 0, 2]], [[]], [[1]])
    assert ranks.tolist() == [1 + 1 + 2 / 2]
    constant = evaluated(np.zeros((1, 100)), [[]], [[0]]).overall()
    assert constant["hr@20"] == 0


def test_seen_toys_do_not_compete_but_a_target_seen_before_does() -> None:
    assert ranks_of([[9, 8, 7, 6]], [[0, 1]], [[2]]).tolist() == [1]
    assert ranks_of([[9, 8, 7, 6]], [[0, 1]], [[1]]).tolist() == [1]
    found = evaluated([[9, 8, 7, 6]], [[0, 1]], [[1]], ks=(3,))
    assert found.lists.tolist() == [[1, 2, 3]]


def test_a_repeated_target_counts_once() -> None:
    once = evaluated([[3, 2, 1]], [[]], [[1]]).overall()
    twice = evaluated([[3, 2, 1]], [[]], [[1, 1]]).overall()
    assert once == twice


def test_nan_scores_come_last() -> None:
    assert ranks_of([[np.nan, 2, 1, np.nan]], [[]], [[2]]).tolist() == [2]
    assert ranks_of([[np.nan, 2, 1, np.nan]], [[]], [[0]]).tolist() == [3.5]


def test_shoppers_without_target_are_not_evaluated() -> None:
    found = evaluated([[3, 2], [1, 2], [2, 1]], [[], [0], []], [[0], [], [1]])
    assert found.rows.tolist() == [0, 2]
    assert found.n == 2
    assert all(len(values) == 2 for values in found.per_shopper.values())


def test_nobody_to_evaluate_gives_nan_and_zero() -> None:
    for found in (evaluated([[3, 2]], [[]], [[]]), evaluated(np.ones((0, 3)), [], [])):
        overall = found.overall()
        assert overall.pop("n") == 0
        assert all(math.isnan(value) for value in overall.values())


def test_combined_means_are_weighted_by_shopper() -> None:
    first = evaluated([[2, 1]], [[]], [[0]], ks=(1,))
    second = evaluated([[2, 1]] * 3, [[]] * 3, [[1]] * 3, ks=(1,))
    both = combine([first, second]).overall()
    assert both["hr@1"] == 0.25
    assert both["n"] == 4
    with pytest.raises(ModelError, match="at least one"):
        combine([])
    with pytest.raises(ModelError, match="same metrics"):
        combine([first, evaluated([[2, 1]], [[]], [[0]], ks=(2,))])


def test_some_shoppers_of_an_evaluation() -> None:
    found = evaluated([[2, 1], [1, 2]], [[], []], [[0], [0]], ks=(1,))
    assert found.where(np.array([True, False])).overall()["hr@1"] == 1


def test_short_lists_are_marked_and_counted() -> None:
    found = evaluated([[3, 2, 1]], [[0]], [[1]], ks=(5,))
    assert found.lists.tolist() == [[1, 2, -1, -1, -1]]
    assert coverage(found.lists, 3, 5) == pytest.approx(2 / 3)


def test_novelty_is_surprise_in_bits() -> None:
    lists = np.array([[0, 1], [1, -1], [-1, -1]], dtype=np.int32)
    values = novelty(lists, np.array([8, 2, 0]), 8, 2)
    assert values[:2].tolist() == [1.0, 2.0]
    assert math.isnan(values[2])


def test_a_model_is_evaluated_like_its_scores() -> None:
    shop, targets = toy_purchases(40), toy_purchases(40, seed=8, longest=1)
    model = Popularity().fit(shop, toy_catalogue())
    assert evaluate(model, shop, targets).overall() == (
        evaluate(model.score, shop, targets).overall()
    )


def test_rows_and_shapes_that_do_not_fit_are_refused() -> None:
    shop = toy_purchases(4)
    with pytest.raises(ModelError, match="one Split"):
        evaluate(lambda rows: np.zeros((4, 40)), shop, toy_purchases(5))
    with pytest.raises(ModelError, match="one column for each"):
        evaluate(lambda rows: np.zeros((4, 3)), shop, shop)
    with pytest.raises(ModelError, match="at least 1"):
        evaluate(lambda rows: np.zeros((4, 40)), shop, shop, ks=())


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluated(SCORES, HISTORIES, TARGETS["several"])
    from recsys.evaluation import protocol

    monkeypatch.setattr(
        protocol, "chunks", lambda rows, columns: (np.array([row]) for row in range(rows))
    )
    one_by_one = evaluated(SCORES, HISTORIES, TARGETS["several"])
    for name, values in whole.per_shopper.items():
        np.testing.assert_array_equal(values, one_by_one.per_shopper[name])


@given(st.data())
def test_ranks_agree_with_a_plain_loop(data: st.DataObject) -> None:
    n_rows, n_items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 8))
    cell = st.sampled_from([-1.0, 0.0, 0.5, 1.0, float("nan")])
    scores = [[data.draw(cell) for _ in range(n_items)] for _ in range(n_rows)]
    toys = st.integers(0, n_items - 1)
    histories = [data.draw(st.lists(toys, max_size=5)) for _ in range(n_rows)]
    targets = [data.draw(st.lists(toys, min_size=1, max_size=3, unique=True)) for _ in scores]
    expected = []
    for row, history, wanted in zip(scores, histories, targets, strict=True):
        level = [-math.inf if math.isnan(value) else value for value in row]
        for target in sorted(wanted):
            rivals = [
                level[j] for j in range(n_items)
                if j != target and (j in wanted or j not in history)
            ]  # fmt: skip
            above = sum(value > level[target] for value in rivals)
            equal = sum(value == level[target] for value in rivals)
            expected.append(1 + above + equal / 2)
    assert ranks_of(scores, histories, targets).tolist() == expected


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_metrics_stay_between_zero_and_one_and_grow_with_k(ranks: list[list[int]]) -> None:
    flat = np.array([rank for row in ranks for rank in row], dtype=float)
    rows = np.repeat(np.arange(len(ranks)), [len(row) for row in ranks])
    found = rank_metrics(flat, rows, len(ranks), (5, 10))
    for metric in ("hr", "recall", "mrr"):
        assert (found[f"{metric}@5"] <= found[f"{metric}@10"]).all()
        assert ((found[f"{metric}@10"] >= 0) & (found[f"{metric}@10"] <= 1)).all()


def ranks_of(scores, histories, targets) -> np.ndarray:
    scores = np.array(scores, dtype=np.float32)
    known = Interactions.from_lists(histories, scores.shape[1])
    pairs = sorted({(row, toy) for row, toys in enumerate(targets) for toy in toys})
    rows, toys = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True))
    seen = known.items.astype(np.int64)
    return target_ranks(scores, rows, toys, known.row_index, seen)
