from __future__ import annotations

import numpy as np
import pytest

from recsys.data import Marketplace, SparseHabits, describe, sparse_market
from recsys.data.toy_world import GroupDraw
from recsys.errors import DataError
from recsys.models import ContentSimilarity, ItemNeighbours, Popularity


@pytest.fixture(scope="module")
def market() -> Marketplace:
    return sparse_market(5_000, toys=3_000, seed=2)


def _everyone(market: Marketplace) -> dict[str, list[int]]:
    return {
        name: shop.all.history(row).tolist()
        for shop in market.shops.values()
        for row, name in enumerate(shop.all.shopper_ids)
    }


def test_the_world_and_the_first_shoppers_do_not_depend_on_the_size(market: Marketplace) -> None:
    larger = sparse_market(7_000, toys=3_000, seed=2)
    assert larger.catalogue.digest == market.catalogue.digest
    histories, more = _everyone(market), _everyone(larger)
    assert len(histories) == 5_000
    assert len(more) == 7_000
    assert all(more[name] == history for name, history in histories.items())
    for name, shop in market.shops.items():
        assert set(shop.all.shopper_ids) <= set(larger.shops[name].all.shopper_ids)


def test_another_seed_is_another_world(market: Marketplace) -> None:
    other = sparse_market(100, toys=3_000, seed=3)
    assert other.catalogue.digest != market.catalogue.digest


def test_it_is_as_sparse_as_real_toys(market: Marketplace) -> None:
    facts = describe(market)
    lengths = np.concatenate([shop.all.lengths for shop in market.shops.values()])
    assert facts["purchases_per_shopper_median"] == 6
    assert lengths.min() == 5
    assert 50 < lengths.max() <= 500
    assert np.quantile(lengths, 0.99) == pytest.approx(40, abs=8)
    counts = np.sum([shop.all.item_counts() for shop in market.shops.values()], axis=0)
    assert counts.max() > 12 * np.median(counts)
    for shop in market.shops.values():
        assert shop.all.csr().nnz == shop.all.n_purchases


def test_shops_are_unequal_and_specialised(market: Marketplace) -> None:
    shares = {name: shop.all.n_shoppers / 5_000 for name, shop in market.shops.items()}
    assert len(shares) == 8
    assert 0.05 < min(shares.values()) < 0.09
    assert 0.16 < max(shares.values()) < 0.21
    category = market.catalogue.categories(2)
    names, codes = np.unique(category.astype(str), return_inverse=True)
    mixes = [
        np.bincount(codes[shop.all.items], minlength=len(names)) / shop.all.n_purchases
        for shop in market.shops.values()
    ]
    overall = np.mean(mixes, axis=0)
    assert sum((mix / overall).max() > 1.5 for mix in mixes) >= 6


def test_order_text_and_hidden_ties_all_tell_something(market: Marketplace) -> None:
    def found(model: ItemNeighbours | ContentSimilarity | Popularity) -> float:
        from recsys.evaluation import evaluate

        shop = max(market.shops.values(), key=lambda shop: shop.all.n_shoppers)
        model.fit(shop.split.train, market.catalogue)
        return evaluate(model, shop.split.train, shop.split.valid).overall()["ndcg@10"]

    popular = found(Popularity())
    assert found(ContentSimilarity()) > 3 * popular
    assert found(ItemNeighbours()) > 2 * popular
    assert found(ContentSimilarity(decay=0.5)) > found(ContentSimilarity(decay=1.0))


def test_without_hidden_ties_purchases_follow_the_text() -> None:
    plain = SparseHabits(line=1.0, kind=0, companion=0, follower=0, circle=0, favourite=0)
    market = sparse_market(100, toys=1_000, habits=plain)
    category = market.catalogue.categories(2)
    for shop in market.shops.values():
        items, rows = shop.all.items, shop.all.row_index
        same = (rows[1:] == rows[:-1]) & (shop.all.ages[1:] > shop.all.lengths[rows[1:]] - 5)
        assert (category[items[1:]] == category[items[:-1]])[same].mean() > 0.6


def test_draws_follow_the_weights_and_stay_in_the_group() -> None:
    group = np.array([1, 0, 1, 0, 2])
    draw = GroupDraw(group, np.array([1.0, 1.0, 3.0, 1.0, 5.0]))
    toys = draw(np.repeat([0, 1, 2], 4_000), np.random.default_rng(0))
    assert (group[toys] == np.repeat([0, 1, 2], 4_000)).all()
    assert np.mean(toys[4_000:8_000] == 2) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sparse_market(4),
        lambda: sparse_market(100, toys=999),
        lambda: SparseHabits(line=0.9),
        lambda: SparseHabits(circle=-0.1),
        lambda: SparseHabits(recency=0.0),
    ],
)
def test_impossible_wishes_are_refused(make: object) -> None:
    with pytest.raises(DataError, match="Expected"):
        make()  # type: ignore[operator]
