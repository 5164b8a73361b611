"""Products of several models written at once: what each of them scores, added up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from recsys.data import Catalogue, Interactions, synthesize
from recsys.models import Blend, ContentSimilarity, ItemNeighbours, LocalALS, Popularity
from recsys.models.base import Recommender
from recsys.models.linear import Joint, Product

N_ROWS, N_ITEMS = 7, 30


def numbers(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def thin(seed: int, *shape: int) -> sp.csr_matrix:
    return sp.random(*shape, density=0.3, format="csr", dtype=np.float32, random_state=seed)


@pytest.fixture
def products() -> list[Product]:
    """Two of each kind, one with several kinds, and one of nothing."""
    return [
        Product(dense=(numbers(1, N_ROWS, 3), numbers(2, N_ITEMS, 3))),
        Product(sparse=(thin(3, N_ROWS, 9), thin(4, 9, N_ITEMS))),
        Product(
            dense=(numbers(5, N_ROWS, 4), numbers(6, N_ITEMS, 4)),
            sparse=(thin(7, N_ROWS, 5), thin(8, 5, N_ITEMS)),
            constant=numbers(9, N_ITEMS),
        ),
        Product(table=(thin(10, N_ROWS, 6), numbers(11, 6, N_ITEMS))),
        Product(constant=numbers(12, N_ITEMS)),
        Product(),
    ]


def multiplied_out(product: Product) -> npt.NDArray[np.float64]:
    total = np.zeros((N_ROWS, N_ITEMS))
    if product.dense is not None:
        total += product.dense[0].astype(float) @ product.dense[1].T
    if product.sparse is not None:
        total += product.sparse[0].toarray().astype(float) @ product.sparse[1].toarray()
    if product.table is not None:
        total += product.table[0].toarray().astype(float) @ product.table[1]
    if product.constant is not None:
        total += product.constant
    return total


@pytest.mark.parametrize("most", [1 << 24, 50])
def test_the_sum_of_all_is_written(
    products: list[Product], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.models.linear._MOST_KEPT", most)
    joint = Joint()
    for some in (products, products[:1], products[1:2], products[3:], products[5:], []):
        out = np.full((N_ROWS, N_ITEMS), np.nan, dtype=np.float32)
        joint.write(some, out)
        expected = sum(map(multiplied_out, some), np.zeros((N_ROWS, N_ITEMS)))
        np.testing.assert_allclose(out, expected, atol=1e-5)


def test_rows_and_factors(products: list[Product]) -> None:
    joint, out = Joint(), np.empty((2, N_ITEMS), dtype=np.float32)
    joint.write([one.scaled(np.float32(-2)).rows(slice(3, 5)) for one in products], out)
    np.testing.assert_allclose(out, -2 * sum(map(multiplied_out, products))[3:5], atol=1e-5)


def test_some_toys_alone(products: list[Product]) -> None:
    items = np.array([4, 0, 29], dtype=np.int32)
    for one in products:
        found = one.of_items(items)
        np.testing.assert_allclose(
            found, multiplied_out(one)[: len(found)][:, items], rtol=1e-4, atol=1e-5
        )


def test_sides_of_toys_are_joined_once_and_anew_when_one_changes(products: list[Product]) -> None:
    joint, out = Joint(), np.empty((N_ROWS, N_ITEMS), dtype=np.float32)
    joint.write(products, out)
    kept = joint._toys._kept[1]
    joint.write([one.scaled(np.float32(3)) for one in products], out)
    assert joint._toys._kept[1] is kept
    changed = [*products]
    changed[0] = Product(dense=(numbers(1, N_ROWS, 3), numbers(99, N_ITEMS, 3)))
    joint.write(changed, out)
    np.testing.assert_allclose(out, sum(map(multiplied_out, changed)), atol=1e-5)


def test_a_blend_is_the_weighted_sum_of_its_components() -> None:
    market = synthesize(None, merchants=1, shoppers=80, toys=50, seed=2)
    (shop,) = market.shops.values()
    train = shop.split.train
    models = {
        "content": ContentSimilarity(),
        "neighbours": ItemNeighbours(),
        "local": LocalALS(factors=8, iterations=2),
        "popularity": Popularity(),
    }
    weights = {"content": 1.0, "neighbours": 0.4, "local": 0.3, "popularity": 0.2}
    blend = Blend(models, weights).fit(train, market.catalogue)
    rows = train.rows(np.arange(20))
    expected = sum(
        model.score(rows).astype(float) * weights[name] / blend.units[name]
        for name, model in models.items()
    )
    np.testing.assert_allclose(blend.score(rows), expected, rtol=1e-5, atol=1e-6)
    # After another fit the toys' sides are others.
    blend.fit(train.rows(np.arange(40)), market.catalogue)
    expected = sum(
        model.score(rows).astype(float) * weights[name] / blend.units[name]
        for name, model in models.items()
    )
    np.testing.assert_allclose(blend.score(rows), expected, rtol=1e-5, atol=1e-6)


class Fixed(Recommender):
    """A model whose scores are no product."""

    name = "fixed"

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Fixed:
        self._n_items = catalogue.n_items
        return self

    def score(self, histories: Interactions) -> npt.NDArray[np.float32]:
        return numbers(21, histories.n_shoppers, self.n_items)


def test_a_model_of_another_kind_is_added_all_the_same() -> None:
    market = synthesize(None, merchants=1, shoppers=30, toys=N_ITEMS, seed=2)
    (shop,) = market.shops.values()
    models = {"fixed": Fixed(), "popularity": Popularity()}
    blend = Blend(models, {"fixed": 1.0, "popularity": 0.5}, {"fixed": 2.0, "popularity": 4.0})
    blend.fit(shop.split.train, market.catalogue)
    rows = shop.split.train.rows(np.arange(N_ROWS))
    expected = models["fixed"].score(rows) / 2 + models["popularity"].score(rows) / 8
    np.testing.assert_allclose(blend.score(rows), expected, rtol=1e-5)
