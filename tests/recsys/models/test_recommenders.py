"""Each model under the shared contract, and what is particular to it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.data import Interactions
from recsys.errors import ModelError
from recsys.models import (
    Blend,
    ContentSimilarity,
    ItemNeighbours,
    LocalALS,
    Popularity,
    Recommender,
    SharedEmbeddings,
)
from recsys.models.content import catalogue_features
from recsys.models.neighbours import co_purchases
from tests.contracts.recommenders import (
    N_ITEMS,
    RecommenderContract,
    toy_catalogue,
    toy_purchases,
)


class TestPopularity(RecommenderContract):
    def make(self) -> Recommender:
        return Popularity()

    def test_scores_are_shoppers_per_toy(self) -> None:
        shop = Interactions.from_lists([[0, 1, 1], [1], [2, 1]], N_ITEMS)
        scores = Popularity().fit(shop, toy_catalogue()).score(shop)
        assert scores[0, :4].tolist() == [1, 3, 1, 0]

    def test_given_counts_win_and_damaged_ones_count_as_none(self) -> None:
        counts = np.full(N_ITEMS, 2.5)
        counts[:3] = [np.nan, -4.0, np.inf]
        model = Popularity(counts).fit(toy_purchases(), toy_catalogue())
        assert model.score(toy_purchases(1))[0, :4].tolist() == [0, 0, 0, 2.5]

    def test_counts_of_another_catalogue_are_refused(self) -> None:
        with pytest.raises(ModelError, match="count"):
            Popularity(np.ones(3)).fit(toy_purchases(), toy_catalogue())


class TestContentSimilarity(RecommenderContract):
    def make(self) -> Recommender:
        return ContentSimilarity()

    def test_scores_are_the_cosines_weighted_by_age(self) -> None:
        features = catalogue_features(toy_catalogue()).toarray()
        model = ContentSimilarity(decay=0.25).fit(toy_purchases(), toy_catalogue())
        expected = features @ (features[7] + 0.25 * features[2] + 0.25**2 * features[30])
        scores = model.score(Interactions.from_lists([[30, 2, 7]], N_ITEMS))[0]
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)

    @pytest.mark.parametrize("common", [0.0, 0.1, 1.0])
    def test_dense_common_terms_change_no_score(
        self, monkeypatch: pytest.MonkeyPatch, common: float
    ) -> None:
        shoppers, asked = toy_purchases(9, seed=1), np.arange(N_ITEMS, dtype=np.int32)
        features = catalogue_features(toy_catalogue())
        weights = shoppers.recency_csr(0.5)
        expected = (weights @ features @ features.T).toarray()
        monkeypatch.setattr("recsys.models.content._COMMON", common)
        model = ContentSimilarity(decay=0.5).fit(shoppers, toy_catalogue())
        np.testing.assert_allclose(model.score(shoppers), expected, rtol=1e-5, atol=1e-6)
        told = model.contributions(shoppers.rows([2]), asked).sum(axis=0)
        np.testing.assert_allclose(told, expected[2], rtol=1e-5, atol=1e-6)

    def test_toys_of_the_same_kind_come_first(self) -> None:
        ids, _ = self.fitted().similar_items(4, 5)
        assert set(ids % 4) == {0}

    def test_only_the_catalogue_is_read(self) -> None:
        with_shoppers = self.fitted().score(toy_purchases(3))
        without = ContentSimilarity().fit(Interactions.from_lists([], N_ITEMS), toy_catalogue())
        np.testing.assert_array_equal(without.score(toy_purchases(3)), with_shoppers)

    @pytest.mark.parametrize(
        "columns",
        [
            {"title": [""] * N_ITEMS},
            {"title": [""] * N_ITEMS, "category_path": [""] * N_ITEMS, "brand": [""] * N_ITEMS},
            {"title": [float("nan")] * N_ITEMS, "brand": [None] * N_ITEMS},
            {"title": ["the same"] * N_ITEMS, "brand": ["b"] * N_ITEMS},
            {"title": ["!!", "?"] * (N_ITEMS // 2), "category_path": [" > "] * N_ITEMS},
        ],
    )
    def test_poor_catalogues_give_finite_scores(self, columns: dict[str, list[object]]) -> None:
        model = ContentSimilarity().fit(toy_purchases(), toy_catalogue(**columns))
        assert np.isfinite(model.score(toy_purchases(4))).all()

    def test_a_toy_without_text_scores_nothing(self) -> None:
        titles = [""] + [f"toy {i}" for i in range(1, N_ITEMS)]
        paths, brands = [""] + ["Toys"] * (N_ITEMS - 1), [""] + ["x"] * (N_ITEMS - 1)
        catalogue = toy_catalogue(title=titles, category_path=paths, brand=brands)
        model = ContentSimilarity().fit(toy_purchases(), catalogue)
        assert model.score(Interactions.from_lists([[1, 2]], N_ITEMS))[0, 0] == 0
        assert not model.score(Interactions.from_lists([[0]], N_ITEMS)).any()

    def test_without_weights_nothing_is_similar(self) -> None:
        model = ContentSimilarity(words=0, category=0, brand=0).fit(
            toy_purchases(), toy_catalogue()
        )
        assert not model.score(toy_purchases(2)).any()


class TestItemNeighbours(RecommenderContract):
    def make(self) -> Recommender:
        return ItemNeighbours()

    @pytest.mark.parametrize("dense", [0.0, 1.0])
    def test_a_dense_table_changes_no_score(
        self, monkeypatch: pytest.MonkeyPatch, dense: float
    ) -> None:
        shoppers = toy_purchases(20, seed=2)
        monkeypatch.setattr("recsys.models.neighbours._DENSE", dense)
        model = self.fitted()
        arrays = model.arrays()
        table = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]))
        expected = (shoppers.recency_csr(0.6) @ table).toarray()
        np.testing.assert_allclose(model.score(shoppers), expected, rtol=1e-5, atol=1e-7)

    def test_pairs_fade_with_their_gap_and_know_their_order(self) -> None:
        shop = Interactions.from_lists([[0, 1, 2, 1], [1, 0]], 4)
        pairs = co_purchases(shop, gap_decay=0.5, window=2).toarray()
        expected = np.zeros((4, 4))
        expected[0, 1] = 1.0  # the first and the last purchase lie three apart
        expected[1, 2] = 1.0
        expected[2, 1] = 1.0
        expected[0, 2] = 0.5
        expected[1, 0] = 1.0
        np.testing.assert_allclose(pairs, expected)

    def test_plain_settings_give_the_textbook_cosine(self) -> None:
        shop = toy_purchases(30, longest=5)
        unique = [list(dict.fromkeys(shop.history(row).tolist())) for row in range(30)]
        shop = Interactions.from_lists(unique, N_ITEMS)
        model = ItemNeighbours(decay=1, gap_decay=1, backward=1, shrinkage=0, window=99)
        scores = model.fit(shop, toy_catalogue()).score(
            Interactions.from_lists([[j] for j in range(N_ITEMS)], N_ITEMS)
        )
        bought = shop.csr().toarray()
        norms = np.maximum(np.linalg.norm(bought, axis=0), 1e-9)
        cosine = (bought.T @ bought) / np.outer(norms, norms)
        np.fill_diagonal(cosine, 0)
        np.testing.assert_allclose(scores, cosine, rtol=1e-5, atol=1e-6)

    def test_what_came_next_beats_what_came_before(self) -> None:
        shop = Interactions.from_lists([[1, 0, 2]] * 5, N_ITEMS)
        scores = self.make().fit(shop, toy_catalogue()).score(shop.rows([0]))
        after, before = self.make().fit(shop, toy_catalogue()).similar_items(0, 2)[0]
        assert (after, before) == (2, 1)
        assert np.isfinite(scores).all()


class TestLocalALS(RecommenderContract):
    def make(self) -> Recommender:
        return LocalALS(factors=8, iterations=5)

    def test_it_finds_the_kinds_that_shoppers_stay_with(self) -> None:
        scores = self.fitted().score(Interactions.from_lists([[0, 4, 8]], N_ITEMS))[0]
        same = np.arange(N_ITEMS) % 4 == 0
        assert scores[same].mean() > 2 * scores[~same].mean()

    def test_fold_in_agrees_with_the_library(self) -> None:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        shop = toy_purchases(80)
        model = LocalALS(factors=8, iterations=5, decay=1.0, alpha=5.0).fit(shop, toy_catalogue())
        with threadpool_limits(limits=1, user_api="blas"):
            library = AlternatingLeastSquares(
                factors=8, regularization=0.1, alpha=5.0, num_threads=1
            )
        library.item_factors = model.arrays()["vectors"]
        # The library keeps the length of its vectors for fitting only.
        library.user_factors = np.zeros((80, library.item_factors.shape[1]), dtype=np.float32)
        shoppers = library.recalculate_user(np.arange(80), shop.csr())
        expected = shoppers @ library.item_factors.T
        np.testing.assert_allclose(model.score(shop), expected, rtol=1e-2, atol=1e-3)

    def test_nobody_s_purchases_score_zero(self) -> None:
        shop = Interactions.from_lists([[], []], N_ITEMS)
        model = LocalALS().fit(shop, toy_catalogue())
        assert not model.score(toy_purchases(3)).any()

    def test_toys_that_nobody_bought_score_zero(self) -> None:
        shop = Interactions.from_lists([[0, 1], [1, 2], [0, 2]], N_ITEMS)
        scores = LocalALS(factors=4).fit(shop, toy_catalogue()).score(shop)
        assert not scores[:, 3:].any()
        assert scores[:, :3].any()

    @pytest.mark.parametrize("wrong", [{"factors": 0}, {"alpha": 0.0}, {"regularization": -1.0}])
    def test_settings_out_of_range_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ModelError, match="Expected factors"):
            LocalALS(**wrong)  # type: ignore[arg-type]


class TestBlendContract(RecommenderContract):
    stores = False

    def make(self) -> Recommender:
        return Blend(
            {
                "content": ContentSimilarity(),
                "neighbours": ItemNeighbours(),
                "popularity": Popularity(),
            }
        )


class TestSharedEmbeddingsContract(RecommenderContract):
    stores = False

    def make(self) -> Recommender:
        embeddings = np.random.default_rng(5).normal(size=(N_ITEMS, 6)).astype(np.float32)
        return SharedEmbeddings(embeddings, decay=0.8)


@pytest.mark.parametrize("model", [Popularity(), ContentSimilarity(), ItemNeighbours(), LocalALS()])
def test_unfitted_models_say_so(model: Recommender) -> None:
    with pytest.raises(ModelError, match="Call fit first"):
        model.recommend(toy_purchases(1))
    with pytest.raises(ModelError, match="from 0 to 39"):
        model.fit(toy_purchases(), toy_catalogue()).similar_items(N_ITEMS)
