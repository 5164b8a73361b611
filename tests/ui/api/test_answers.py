"""The API over a shop that really serves: what it answers, and how long that may be kept."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from datasites.merchant.serving import open_shop
from tests.ui.api.world import World
from tests.ui.web.market import SHOP
from ui.api import answers


@pytest.mark.attack
def test_toys_for_a_basket(world: World) -> None:
    basket = world.ids(3, 9)
    answer = world.post({"basket": basket, "n": 5})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["shop"] == SHOP
    ids = [one["item_id"] for one in found["items"]]
    assert len(ids) == 5
    assert not set(ids) & set(basket)
    assert all(one["title"] and one["reason"] for one in found["items"])
    # A score is a number of purchases in disguise: the order is all that is told.
    assert all("score" not in one for one in found["items"])
    assert ids != [one["item_id"] for one in world.post({"basket": world.ids(20)}).json()["items"]]


def test_filters_and_toys_that_are_not_known(world: World) -> None:
    answer = world.post({"basket": ["no-such-toy"], "price_max": 20, "exclude": ["neither"]}).json()
    assert answer["unknown"] == 2
    assert all(one["price"] is None or one["price"] <= 20 for one in answer["items"])
    category = answer["items"][0]["category"]
    narrow = world.post({"categories": [category]}).json()
    assert {one["category"] for one in narrow["items"]} == {category}


def test_popular_and_similar_may_be_kept(world: World) -> None:
    for path in (
        "/api/recommend?n=4&price_max=30",
        f"/api/similar?item={world.ids(5)[0]}&n=4",
    ):
        first = world.get(path)
        assert first.status_code == 200
        assert len(first.json()["items"]) == 4
        assert first.headers["cache-control"] == "private, max-age=60"
        assert first.headers["vary"] == "Authorization"
        again = world.get(path, **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert world.get(path).content == first.content


def test_answers_are_kept_up_to_so_many_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_KEPT_BYTES", 6000)
    for _ in range(2):
        for item in world.ids(*range(9)):
            assert world.get(f"/api/similar?item={item}&n=4").status_code == 200
    kept = [one for one in answers._prepared.values() if one.kept]
    assert kept
    for one in kept:
        assert one.kept_bytes == sum(answers._size(*pair) for pair in one.kept.items()) <= 6000


@pytest.mark.attack
def test_long_questions_count_as_well_as_their_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_KEPT_BYTES", 20_000)
    for number in range(30):
        category = f"{number:03}" + "\N{TEDDY BEAR}" * 90
        assert world.get(f"/api/recommend?n=1&category={quote(category)}").status_code == 200
    kept = [one for one in answers._prepared.values() if one.kept_bytes]
    assert kept
    assert all(len(one.kept) < 12 for one in kept if one.kept_bytes > 10_000)


def test_a_shoppers_history_needs_a_key_for_it(world: World) -> None:
    row = int(world.shop.lengths.argmax())
    shopper = str(world.shop.shopper_ids[row])
    history = [int(item) for item in world.shop.history(row)]
    refused = world.post({"shopper": shopper})
    assert refused.status_code == 403
    assert shopper not in refused.text
    shop = open_shop(world.home)
    for own_history, answer in (
        (True, world.post({"shopper": shopper}, world.full_key)),
        # Whoever may fill a basket with anything is told only what several shoppers stand behind.
        (False, world.post({"basket": world.ids(*history)})),
        (False, world.post({"basket": world.ids(*history)}, world.full_key)),
    ):
        best = shop.recommend(history, own_history=own_history)
        told = [one["item_id"] for one in answer.json()["items"]]
        assert told[: len(best)] == world.ids(*[one.item for one in best])
    # Nor does what is put beside a shopper's own purchases, to find out what goes with it.
    both = world.post({"shopper": shopper, "basket": world.ids(9)}, world.full_key)
    told = [one["item_id"] for one in both.json()["items"]]
    best = shop.recommend([*history, 9])
    assert told[: len(best)] == world.ids(*[one.item for one in best])


@pytest.mark.attack
def test_an_unknown_shopper_looks_like_a_new_one(world: World) -> None:
    new = world.post({}, world.full_key)
    unknown = world.post({"shopper": "nobody-of-that-name"}, world.full_key)
    assert (unknown.status_code, unknown.json()) == (200, new.json())
