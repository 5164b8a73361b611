"""Filters hide what they say, lists may be short, and reasons follow the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.data import Interactions
from recsys.errors import ModelError
from recsys.models import Blend, ContentSimilarity, ItemNeighbours, Popularity
from recsys.serving import Filters, Shelf
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases

NAN = float("nan")


def priced_catalogue():
    return toy_catalogue(
        price=[NAN, 5.0, 10.0, 20.0] * (N_ITEMS // 4),
        age_from=[3.0, NAN, 6.0, NAN] * (N_ITEMS // 4),
        age_to=[5.0, 8.0, NAN, NAN] * (N_ITEMS // 4),
    )


def shelf(weights: dict[str, float], **more) -> Shelf:
    components = {
        "content": ContentSimilarity(),
        "neighbours": ItemNeighbours(),
        "popularity": Popularity(),
    }
    blend = Blend(components, weights).fit(toy_purchases(), priced_catalogue())
    return Shelf(blend, priced_catalogue(), **more)


def kinds(filters: Filters) -> set[int]:
    """Which of the four rows of facts above are shown."""
    return {int(item) % 4 for item in np.flatnonzero(filters.allowed(priced_catalogue()))}


def test_a_fact_that_is_not_known_hides_nothing() -> None:
    assert kinds(Filters()) == {0, 1, 2, 3}
    assert kinds(Filters(price_max=10)) == {0, 1, 2}
    assert kinds(Filters(price_min=10)) == {0, 2, 3}
    assert kinds(Filters(price_min=6, price_max=12)) == {0, 2}
    assert kinds(Filters(age=4)) == {0, 1, 3}
    assert kinds(Filters(age=8)) == {1, 2, 3}
    assert kinds(Filters(age=4, price_max=10)) == {0, 1}


def test_a_category_includes_what_lies_below_it_and_nothing_beside_it() -> None:
    assert kinds(Filters(categories=("Toys",))) == {0, 1, 2, 3}
    assert kinds(Filters(categories=("Toys > wooden", "Toys > doll"))) == {0, 2}
    assert kinds(Filters(categories=("Toys > wood",))) == set()


def test_excluded_toys_are_hidden() -> None:
    allowed = Filters(exclude=(3, N_ITEMS - 1, 10**6, -1)).allowed(priced_catalogue())
    assert np.flatnonzero(~allowed).tolist() == [3, N_ITEMS - 1]


def test_filters_and_stock_hold_for_every_suggestion() -> None:
    stock = np.arange(N_ITEMS) < 20
    shop = shelf({"content": 1.0, "popularity": 0.1}, in_stock=stock)
    found = shop.recommend([4, 8], 40, Filters(price_max=10, exclude=(12,)))
    items = [suggestion.item for suggestion in found]
    assert items
    assert len(items) == len(set(items))
    assert all(item < 20 and item % 4 != 3 and item not in (4, 8, 12) for item in items)
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)


def test_sold_out_toys_are_shown_to_those_who_ask() -> None:
    stock = np.arange(N_ITEMS) >= 4
    shop = shelf({"popularity": 1.0}, in_stock=stock)
    assert all(one.item >= 4 for one in shop.recommend([], N_ITEMS))
    everything = shop.recommend([], N_ITEMS, Filters(sold_out_too=True))
    assert {one.item for one in everything} == set(range(N_ITEMS))


def test_nothing_left_gives_an_empty_list() -> None:
    shop = shelf({"content": 1.0})
    assert shop.recommend([1], 5, Filters(categories=("Books",))) == []
    assert len(shop.recommend(list(range(N_ITEMS - 2)), 5)) == 2


def test_the_purchase_that_speaks_most_is_named() -> None:
    shop = shelf({"content": 1.0})
    best = shop.recommend([1, 8], 1)[0]
    assert best.item % 4 == 0
    assert best.reason == "because you chose wooden train number 8"


def test_reasons_name_what_the_score_is_made_of() -> None:
    assert {s.reason for s in shelf({"popularity": 1.0}).recommend([8], 5)} == {
        "popular in this shop"
    }
    strangers = shelf({"content": 1.0, "popularity": 0.1}).recommend([], 5)
    assert {s.reason for s in strangers} == {"popular in this shop"}
    unknown = shelf({"content": 1.0}).recommend([], 5)
    assert {s.reason for s in unknown} == {"something new to try"}


def test_a_named_purchase_makes_up_a_third_of_the_score() -> None:
    components = {"content": ContentSimilarity(), "neighbours": ItemNeighbours()}
    catalogue = priced_catalogue()
    blend = Blend(components, {"content": 1.0, "neighbours": 0.4})
    blend.fit(toy_purchases(), catalogue)
    history = [2, 7, 13, 20, 5, 31]
    basket = Interactions.from_lists([history], N_ITEMS)
    for suggestion in Shelf(blend, catalogue).recommend(history, 30):
        if suggestion.reason.startswith("because you chose "):
            title = suggestion.reason.removeprefix("because you chose ")
            place = history.index(catalogue.frame["title"].tolist().index(title))
            parts = blend.explain(basket, [suggestion.item]).purchases[:, 0]
            assert place == parts.argmax()
            assert parts[place] >= suggestion.score / 3 - 1e-6


def test_similar_toys_are_those_for_a_basket_of_one() -> None:
    shop = shelf({"content": 1.0})
    assert shop.similar(8, 4) == shop.recommend([8], 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="in the basket"):
        shelf({"content": 1.0}).recommend([N_ITEMS])
    with pytest.raises(ModelError, match="stock list"):
        shelf({"content": 1.0}, in_stock=np.ones(3, dtype=bool))
