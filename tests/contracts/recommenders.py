"""What every recommender must do; a model's tests inherit `RecommenderContract`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys.data import Catalogue, Interactions
from recsys.errors import ModelError
from recsys.models import Recommender

N_ITEMS = 40


def toy_catalogue(n_items: int = N_ITEMS, **columns: list[object]) -> Catalogue:
    """An invented catalogue of four kinds of toy and five brands."""
    kinds = ("wooden train", "puzzle animals", "doll house", "robot kit")
    frame = pd.DataFrame(
        {
            "item_id": [f"t{i}" for i in range(n_items)],
            "title": [f"{kinds[i % 4]} number {i}" for i in range(n_items)],
            "category_path": [f"Toys > {kinds[i % 4].split()[0]}" for i in range(n_items)],
            "brand": [f"brand {i % 5}" for i in range(n_items)],
        }
    )
    return Catalogue(frame.assign(**columns))


def toy_purchases(
    n_shoppers: int = 60, n_items: int = N_ITEMS, seed: int = 0, longest: int = 9
) -> Interactions:
    """Shoppers who mostly stay with one kind of toy; toys repeat now and then."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(n_shoppers):
        kind, length = rng.integers(4), rng.integers(1, longest + 1)
        own = rng.choice(np.arange(n_items)[np.arange(n_items) % 4 == kind], size=length)
        other = rng.integers(n_items, size=length)
        histories.append(np.where(rng.random(length) < 0.8, own, other))
    return Interactions.from_lists(histories, n_items)


class RecommenderContract:
    """Subclasses say how to make the model; `make` returns an unfitted one."""

    stores = True
    """Whether the model goes into a merchant's serving bundle."""

    def make(self) -> Recommender:
        """Return an unfitted model."""
        raise NotImplementedError

    def fitted(self) -> Recommender:
        """Return the model fitted on the invented shop."""
        return self.make().fit(toy_purchases(), toy_catalogue())

    def test_scores_are_finite_float32_one_row_a_shopper(self) -> None:
        scores = self.fitted().score(toy_purchases(7, seed=1))
        assert scores.dtype == np.float32
        assert scores.shape == (7, N_ITEMS)
        assert np.isfinite(scores).all()

    def test_a_score_does_not_depend_on_the_other_rows(self) -> None:
        model, shoppers = self.fitted(), toy_purchases(9, seed=2)
        alone = model.score(shoppers.rows([4]))[0]
        np.testing.assert_allclose(model.score(shoppers)[4], alone, rtol=1e-4, atol=1e-5)

    def test_scoring_twice_gives_the_same_bits(self) -> None:
        model, shoppers = self.fitted(), toy_purchases(5, seed=3)
        np.testing.assert_array_equal(model.score(shoppers), model.score(shoppers))

    def test_fitting_twice_gives_the_same_bits(self) -> None:
        shoppers = toy_purchases(5, seed=3)
        np.testing.assert_array_equal(self.fitted().score(shoppers), self.fitted().score(shoppers))

    def test_seen_toys_are_left_out_unless_asked_for(self) -> None:
        model, shoppers = self.fitted(), toy_purchases(12, seed=4)
        for row, ids in enumerate(model.recommend(shoppers, N_ITEMS).ids):
            seen = set(shoppers.history(row).tolist())
            assert not seen & set(ids.tolist())
            assert len(ids) == N_ITEMS - len(seen)
        everything = model.recommend(shoppers, N_ITEMS, exclude_seen=False)
        assert all(len(ids) == N_ITEMS for ids in everything.ids)

    def test_lists_follow_the_scores_and_break_ties_by_index(self) -> None:
        model, shoppers = self.fitted(), toy_purchases(12, seed=5)
        scores = model.score(shoppers)
        found = model.recommend(shoppers, 10, exclude_seen=False)
        for row in range(12):
            best = sorted(range(N_ITEMS), key=lambda j: (-scores[row, j], j))[:10]
            assert found.ids[row].tolist() == best
            np.testing.assert_array_equal(found.scores[row], scores[row, best])

    def test_a_mask_hides_toys_and_shortens_lists(self) -> None:
        allowed = np.zeros(N_ITEMS, dtype=bool)
        allowed[[1, 2, 3]] = True
        found = self.fitted().recommend(Interactions.from_lists([[3], []], N_ITEMS), 10, allowed)
        assert set(found.ids[0].tolist()) == {1, 2}
        assert set(found.ids[1].tolist()) == {1, 2, 3}

    def test_no_shoppers_no_lists(self) -> None:
        nobody = Interactions.from_lists([], N_ITEMS)
        assert self.fitted().score(nobody).shape == (0, N_ITEMS)
        assert len(self.fitted().recommend(nobody)) == 0

    def test_a_shopper_who_bought_everything_gets_an_empty_list(self) -> None:
        everything = Interactions.from_lists([list(range(N_ITEMS))], N_ITEMS)
        assert self.fitted().recommend(everything).ids[0].size == 0

    def test_similar_items_leave_out_the_toy_itself(self) -> None:
        ids, scores = self.fitted().similar_items(8, 5)
        assert len(ids) == 5
        assert 8 not in ids
        assert (np.diff(scores) <= 0).all()

    @pytest.mark.parametrize(
        "histories", [[], [[]], [[0]], [[0, 1, 2, 3, 4]], [[2, 2, 2]], [[0, 1], [], [1]]]
    )
    def test_tiny_shops_can_be_fitted_and_asked(self, histories: list[list[int]]) -> None:
        shop = Interactions.from_lists(histories, N_ITEMS)
        model = self.make().fit(shop, toy_catalogue())
        asked = Interactions.from_lists([[], [0], [0, 1, 2, 3, 4, 0]], N_ITEMS)
        assert np.isfinite(model.score(asked)).all()

    def test_other_catalogues_are_refused(self) -> None:
        with pytest.raises(ModelError, match="catalogue"):
            self.fitted().score(Interactions.from_lists([[0]], N_ITEMS + 1))
        with pytest.raises(ModelError, match="allowed"):
            self.fitted().recommend(toy_purchases(2), allowed=np.ones(3, dtype=bool))

    def test_contributions_add_up_to_the_score(self) -> None:
        model = self.fitted()
        asked = np.array([0, 5, 17, 39], dtype=np.int32)
        for history in ([3], [3, 8, 12, 3, 21], list(range(10))):
            shopper = Interactions.from_lists([history], N_ITEMS)
            parts = model.contributions(shopper, asked)
            if parts is None:
                return
            assert parts.shape == (len(history), 4)
            expected = model.score(shopper)[0, asked]
            np.testing.assert_allclose(parts.sum(axis=0), expected, rtol=1e-3, atol=1e-5)

    def test_what_is_stored_scores_the_same(self) -> None:
        if not self.stores:
            pytest.skip("not stored in bundles")
        model, shoppers = self.fitted(), toy_purchases(6, seed=6)
        arrays = {name: np.array(array) for name, array in model.arrays().items()}
        again = self.make().restore(arrays, toy_catalogue())
        np.testing.assert_array_equal(again.score(shoppers), model.score(shoppers))
