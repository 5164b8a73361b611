"""The blend: its arithmetic, its weights, and that joining changes nothing unless it helps."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pytest

from recsys.data import Catalogue, Interactions
from recsys.errors import ModelError
from recsys.evaluation import evaluate
from recsys.models import Blend, ContentSimilarity, ItemNeighbours, Popularity, Recommender
from recsys.models.blend import DEFAULT_WEIGHTS
from recsys.models.blend_weights import WeightSearch, evenly, gather_candidates, typical_best
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

N = 200


class Known(Recommender):
    """Scores given per shopper id; rows of other shoppers score zero."""

    name: ClassVar[str] = "known"

    def __init__(self, by_id: dict[str, np.ndarray]) -> None:
        self._by_id = by_id
        self._n_items = N_ITEMS

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        return self

    def score(self, histories: Interactions) -> np.ndarray:
        nothing = np.zeros(N_ITEMS, dtype=np.float32)
        rows = [self._by_id.get(name, nothing) for name in histories.shopper_ids]
        return np.array(rows, dtype=np.float32).reshape(len(rows), N_ITEMS)


def market(seed: int = 0) -> tuple[Interactions, Interactions]:
    return toy_purchases(N, seed=seed), toy_purchases(N, seed=seed + 100, longest=1)


def noisy(targets: Interactions, strength: float, seed: int) -> Known:
    """A component that knows the targets, more or less."""
    rng = np.random.default_rng(seed)
    scores = rng.random((targets.n_shoppers, N_ITEMS)).astype(np.float32)
    scores[np.arange(targets.n_shoppers), targets.items[targets.indptr[:-1]]] += strength
    return Known(dict(zip(targets.shopper_ids, scores, strict=True)))


def test_scores_are_the_weighted_sum_in_units() -> None:
    train, _ = market()
    content, popular = ContentSimilarity(), Popularity()
    blend = Blend(
        {"content": content, "popularity": popular},
        {"content": 2.0, "popularity": 0.5},
        {"content": 4.0, "popularity": 10.0},
    ).fit(train, toy_catalogue())
    expected = content.score(train) * 0.5 + popular.score(train) * 0.05
    np.testing.assert_allclose(blend.score(train), expected, rtol=1e-5)


def test_units_are_the_mean_best_score_and_survive_another_fit() -> None:
    train, valid = market()
    popular = Popularity()
    blend = Blend({"popularity": popular}).fit(train, toy_catalogue())
    best = float(train.item_counts().max())
    assert blend.units["popularity"] == pytest.approx(best)
    blend.fit(train.append(valid), toy_catalogue())
    assert blend.units["popularity"] == pytest.approx(best)
    nobody = Interactions.from_lists([[]], N_ITEMS)
    assert typical_best(Popularity().fit(nobody, toy_catalogue()), nobody) == 1.0


def test_a_component_that_helps_is_taken_up() -> None:
    train, valid = market()
    alone = Blend({"content": ContentSimilarity()}).fit(train, toy_catalogue())
    before = evaluate(alone, train, valid).overall()["ndcg@10"]
    wide = alone.extend({"shared": noisy(valid, 1.0, 1)}).fit_weights(train, valid)
    assert wide.weights["shared"] > 0
    assert evaluate(wide, train, valid).overall()["ndcg@10"] > before + 0.1


def test_a_useless_component_leaves_every_bit_as_it_was() -> None:
    train, valid = market()
    alone = Blend({"content": ContentSimilarity(), "neighbours": ItemNeighbours()})
    alone.fit(train, toy_catalogue()).fit_weights(train, valid)
    for useless in (Known({}), Known(dict.fromkeys(train.shopper_ids, np.ones(N_ITEMS)))):
        wide = alone.extend({"shared": useless})
        np.testing.assert_array_equal(wide.score(train), alone.score(train))
        wide.fit_weights(train, valid)
        assert wide.weights["shared"] == 0
        assert {n: wide.weights[n] for n in alone.weights} == alone.weights
        np.testing.assert_array_equal(wide.score(train), alone.score(train))
        assert wide.recommend(train).ids[0].tolist() == alone.recommend(train).ids[0].tolist()


def test_pure_noise_is_seldom_believed() -> None:
    # Several shares are tried, so chance passes one standard error more often than one test would.
    train, valid = market()
    search = WeightSearch(errors=2.0)
    alone = Blend({"content": ContentSimilarity()}).fit(train, toy_catalogue())
    taken = [
        alone.extend({"shared": noisy(valid, 0.0, seed)}).fit_weights(train, valid, search=search)
        for seed in range(10)
    ]
    assert sum(blend.weights["shared"] > 0 for blend in taken) <= 3


def test_gains_within_one_standard_error_are_not_taken() -> None:
    train, valid = market()
    blend = Blend({"content": ContentSimilarity(), "shared": noisy(valid, 1.0, 2)}, {"content": 1})
    blend.fit(train, toy_catalogue()).fit_weights(train, valid, search=WeightSearch(errors=1e9))
    assert blend.weights == {"content": 1.0, "shared": 0.0}


def test_a_harmful_component_is_dropped() -> None:
    train, valid = market()
    against = {name: -s for name, s in noisy(valid, 1.0, 3)._by_id.items()}
    start = {"content": 1.0, "shared": 0.5}
    blend = Blend({"content": ContentSimilarity(), "shared": Known(against)}, start)
    blend.fit(train, toy_catalogue()).fit_weights(train, valid)
    assert blend.weights["shared"] < 0.05 * blend.weights["content"]


class Calibrated(Known):
    """Scores in the unit of popularity, however small they are."""

    unit_of: ClassVar[str | None] = "popularity"


def test_a_calibrated_component_shares_its_references_unit() -> None:
    train, valid = market()
    whisper = Calibrated({name: np.full(N_ITEMS, 1e-3, np.float32) for name in valid.shopper_ids})
    blend = Blend({"popularity": Popularity()}).fit(train, toy_catalogue()).extend({"s": whisper})
    blend.fit_weights(train, valid)
    assert blend.units["s"] == blend.units["popularity"] > 1


def test_a_calibrated_component_is_taken_up_for_half_a_standard_error() -> None:
    train, valid = market()
    alone = Blend({"popularity": Popularity()}).fit(train, toy_catalogue())
    alone.fit_weights(train, valid)
    unit = alone.units["popularity"]
    decisions = set()
    for strength in np.linspace(-0.3, 0.3, 9):
        scores = noisy(valid, float(strength), 1)._by_id
        component = Calibrated({name: values * unit for name, values in scores.items()})
        wide = alone.extend({"s": component})
        candidates = wide.candidates(train, valid)
        trial = {**alone.weights, "s": 0.5 * alone.weights["popularity"]}
        gain = candidates.ndcg(trial) - candidates.ndcg(alone.weights)
        errors = gain.mean() / (gain.std(ddof=1) / np.sqrt(gain.size))
        searched = WeightSearch().best(candidates, wide.weights)["s"] > 0
        taken = wide.fit_weights(train, valid).weights["s"] > 0
        assert taken == (searched or errors > 0.5)
        decisions.add((bool(searched), bool(taken)))
    assert {(False, False), (True, True)} <= decisions


def test_small_shops_keep_the_public_weights() -> None:
    train, valid = market()
    rows = np.arange(20)
    blend = Blend({"content": ContentSimilarity(), "popularity": Popularity()})
    blend.fit(train, toy_catalogue()).fit_weights(train.rows(rows), valid.rows(rows))
    assert blend.weights == {n: DEFAULT_WEIGHTS[n] for n in ("content", "popularity")}


def test_shops_without_valid_purchases_can_be_fitted() -> None:
    train, _ = market()
    nothing = Interactions.from_lists([[]] * N, N_ITEMS)
    blend = Blend({"content": ContentSimilarity()}).fit(train, toy_catalogue())
    assert blend.fit_weights(train, nothing).weights == {"content": 1.0}


def test_weights_start_where_they_are_told_to() -> None:
    train, valid = market()
    blend = Blend({"content": ContentSimilarity(), "popularity": Popularity()})
    blend.fit(train, toy_catalogue())
    still = WeightSearch(min_shoppers=10**6)
    blend.fit_weights(train, valid, {"popularity": 3.0}, still)
    assert blend.weights == {"content": 0.0, "popularity": 3.0}


class Exact(Recommender):
    """Scores in eighths, different for every history: no sum of them is ever rounded."""

    name = "exact"

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Exact:
        self._n_items = catalogue.n_items
        return self

    def score(self, histories: Interactions) -> np.ndarray:
        toys = np.arange(self.n_items)
        newest = [int(histories.history(row)[-1:].sum()) for row in range(histories.n_shoppers)]
        return ((7 * toys + 5 * toys * np.array(newest)[:, None]) % 23 / 8).astype(np.float32)


@pytest.mark.parametrize("several", [False, True])
def test_candidates_give_the_ndcg_of_the_full_ranking(several: bool) -> None:
    train, valid = market(3)
    if several:
        valid = toy_purchases(N, seed=55, longest=4)
    # Toys that score alike but for rounding would stand in either order, by the machine.
    blend = Blend({"a": Exact(), "b": Popularity()}, units={"a": 1.0, "b": 1.0})
    blend.fit(train, toy_catalogue())
    for weights in ({"a": 1.0}, {"a": 1.0, "b": 0.5}, {"b": 1.0}):
        blend.weights = {"a": 0.0, "b": 0.0, **weights}
        found = blend.candidates(train, valid).ndcg(blend.weights)
        expected = evaluate(blend, train, valid).per_shopper["ndcg@10"]
        assert expected.any()
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_few_candidates_find_the_targets_that_reach_the_list() -> None:
    train, valid = market(4)
    content = ContentSimilarity().fit(train, toy_catalogue())
    found = gather_candidates({"content": content}, {"content": 1.0}, train, valid, depth=15)
    expected = evaluate(content, train, valid).per_shopper["ndcg@10"]
    np.testing.assert_allclose(found.ndcg({"content": 1.0}), expected, atol=1e-9)
    assert found.shopper.size < N


def test_terms_add_up_and_purchases_explain_what_they_can() -> None:
    train, _ = market()
    blend = Blend(
        {
            "content": ContentSimilarity(),
            "neighbours": ItemNeighbours(),
            "popularity": Popularity(),
        },
        {"content": 1.0, "neighbours": 0.4, "popularity": 0.1},
    ).fit(train, toy_catalogue())
    shopper = Interactions.from_lists([[3, 9, 4]], N_ITEMS)
    asked = blend.recommend(shopper, 6).ids[0]
    found = blend.explain(shopper, asked)
    np.testing.assert_allclose(found.scores, blend.score(shopper)[0, asked], rtol=1e-5)
    told = found.terms["content"] + found.terms["neighbours"]
    np.testing.assert_allclose(found.purchases.sum(axis=0), told, rtol=1e-4, atol=1e-6)
    shares = np.sum(list(found.shares().values()), axis=0)
    np.testing.assert_allclose(shares, 1, rtol=1e-5)
    assert min(share.min() for share in found.shares().values()) >= 0
    with pytest.raises(ModelError, match="exactly one shopper"):
        blend.explain(train, asked)

    allowed = np.ones(N_ITEMS, dtype=bool)
    allowed[asked[:2]] = False
    best = blend.recommend(shopper, 6, allowed)
    at_once = blend.recommend_explained(shopper, 6, allowed)
    again = blend.explain(shopper, best.ids[0])
    np.testing.assert_array_equal(at_once.items, best.ids[0])
    np.testing.assert_allclose(at_once.scores, best.scores[0], rtol=1e-6)
    np.testing.assert_array_equal(at_once.purchases, again.purchases)
    with pytest.raises(ModelError, match="exactly one shopper"):
        blend.recommend_explained(train, 6)


@pytest.mark.parametrize(
    "weights", [{"content": -1.0}, {"content": float("nan")}, {"elsewhere": 1.0}]
)
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="Expected finite weights"):
        Blend({"content": ContentSimilarity()}, weights)


def test_components_have_to_fit_together() -> None:
    with pytest.raises(ModelError, match="at least one component"):
        Blend({})
    blend = Blend({"content": ContentSimilarity()})
    with pytest.raises(ModelError, match="new component names"):
        blend.extend({"content": Popularity()})
    small = Popularity().fit(toy_purchases(5, n_items=8), toy_catalogue(8))
    large = Popularity().fit(toy_purchases(5), toy_catalogue())
    with pytest.raises(ModelError, match="one catalogue"):
        Blend({"a": small, "b": large}).score(toy_purchases(2))


@pytest.mark.parametrize("calibrated", [False, True])
def test_scores_that_are_no_numbers_win_nothing(calibrated: bool) -> None:
    train, valid = market()
    alone = Blend({"popularity": Popularity()}).fit(train, toy_catalogue())
    alone.fit_weights(train, valid)
    kind = Calibrated if calibrated else Known
    nonsense = kind(dict.fromkeys(train.shopper_ids, np.full(N_ITEMS, np.nan, np.float32)))
    wide = alone.extend({"shared": nonsense}).fit_weights(train, valid)
    assert wide.weights["shared"] == 0


def test_of_many_shoppers_some_at_even_distances_choose_the_weights() -> None:
    np.testing.assert_array_equal(evenly(np.arange(10), 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(evenly(np.arange(10), 10), np.arange(10))
    assert evenly(np.arange(0), 5).size == 0
    train, valid = market()
    content = {"content": ContentSimilarity().fit(train, toy_catalogue())}
    some = gather_candidates(content, {"content": 1.0}, train, valid, most=50)
    rows = np.flatnonzero(valid.lengths > 0)[::4]
    same = gather_candidates(content, {"content": 1.0}, train.rows(rows), valid.rows(rows))
    np.testing.assert_array_equal(some.ndcg({"content": 1.0}), same.ndcg({"content": 1.0}))
