from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import MerchantHome
from datasites.merchant.store import load_catalogue, load_shop
from recsys.data import Catalogue, write_catalogue
from tests.ui.web.market import BARE, OWN, SHOP, texts
from tests.ui.web.test_plain import HOSTILE
from ui.web.doors import Role
from ui.web.views.filters import telling_level

OpenPage = Callable[[str], AppTest]
Served = Callable[..., None]


def titles(page: AppTest) -> list[str]:
    """Titles of the recommended toys, in order."""
    cards = [one.proto.body for one in page.get("html") if "tf-card" in one.proto.body]
    return re.findall(r'class="tf-title" title="([^"]*)"', "".join(cards))


def key_of(page: AppTest, begins: str) -> str:
    """The first button whose key begins so."""
    return next(one.key for one in page.button if one.key and one.key.startswith(begins))


def test_a_shopper_gets_toys_with_reasons_and_is_never_named(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    told = texts(page)
    assert page.title[0].value == SHOP
    assert page.subheader[0].value.startswith("Shopper 1 · bought")
    assert "never leaves this shop" in told
    assert "Loved in many shops" in told
    assert len(titles(page)) == 12
    shop = load_shop(homes[SHOP], load_catalogue(homes[SHOP]))
    labels = " ".join(map(str, [*page.selectbox, *page.number_input, *page.radio]))
    for shopper in shop.all.shopper_ids:
        assert str(shopper) not in told + labels
    assert "shopper" not in page.query_params


def test_alone_and_together_differ_and_stand_side_by_side(
    served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    together = titles(page)
    alone = titles(page.segmented_control(key="shop-mode").set_value("This shop alone").run())
    assert alone != together
    page.segmented_control(key="shop-mode").set_value("Side by side").run()
    assert titles(page) == alone + together
    assert texts(page).count("only together") == len(set(together) - set(alone))


def test_without_a_study_there_is_nothing_to_compare(served: Served, open_page: OpenPage) -> None:
    served(None)
    page = open_page("shop")
    assert not page.segmented_control
    assert "has not joined a study yet" in texts(page)
    assert "Like what was bought here" in texts(page)


def test_filters_narrow_and_say_so_when_nothing_is_left(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    frame = load_catalogue(homes[SHOP]).frame.set_index("title")
    limit = int(frame["price"].median())
    page.slider(key="filter-price").set_value(limit).run()
    assert titles(page)
    assert frame.loc[titles(page), "price"].max() <= limit
    page.selectbox(key="filter-age").set_value(1).run()
    assert (frame.loc[titles(page), "age_from"].fillna(0) <= 1).all()
    page.slider(key="filter-price").set_value(page.slider(key="filter-price").min).run()
    assert not titles(page)
    assert "Widen them" in texts(page)


def test_filters_only_for_facts_that_the_catalogue_has(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    home = homes[SHOP]
    catalogue = load_catalogue(home)
    bare = type(catalogue)(catalogue.frame[["item_id", "title"]])
    write_catalogue(home.data / "catalogue.parquet", bare)
    page = open_page("shop")
    keys = {widget.key for widget in [*page.slider, *page.selectbox, *page.multiselect]}
    assert not {key for key in keys if str(key).startswith("filter-")}
    assert len(titles(page)) == 12
    assert telling_level(bare) is None


def test_a_new_shopper_is_told_what_happens(served: Served, open_page: OpenPage) -> None:
    served()
    page = open_page("shop")
    page.number_input[0].set_value(page.number_input[0].max).run()
    assert "new here" in page.subheader[0].value
    assert "nothing bought yet" in texts(page)
    assert titles(page)


def test_toys_that_somebody_likes_instead_of_purchases(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    page.radio(key="shop-who").set_value("Toys that you like").run()
    assert "Pick a few toys" in texts(page)
    page.multiselect(key="liked").set_value([3, 5]).run()
    liked = load_catalogue(homes[SHOP]).frame["title"].iloc[[3, 5]]
    assert page.subheader[0].value == "Toys that you like"
    assert titles(page)
    assert not set(liked) & set(titles(page))


@pytest.mark.attack
def test_only_what_was_really_bought_is_answered_out_of_everything(
    served: Served, open_page: OpenPage
) -> None:
    """Toys that anybody may choose are a question about other people's purchases, too."""
    served()
    OWN.clear()
    page = open_page("shop")
    assert OWN
    assert all(OWN)
    for mode in ("Together with other shops", "This shop alone", "Side by side"):
        page.segmented_control(key="shop-mode").set_value(mode).run()
    assert all(OWN)
    page.segmented_control(key="shop-mode").set_value("This shop alone").run()
    item = key_of(page, "add-")
    OWN.clear()
    page.button(key=item).click().run()
    for mode in ("Together with other shops", "Side by side"):
        page.segmented_control(key="shop-mode").set_value(mode).run()
    assert OWN
    assert not any(OWN)
    page.button(key="basket-empty").click().run()
    page.radio(key="shop-who").set_value("Toys that you like").run()
    OWN.clear()
    page.multiselect(key="liked").set_value([3, 5]).run()
    assert OWN
    assert not any(OWN)


def test_a_basket_changes_what_is_recommended_and_can_be_emptied(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    page.segmented_control(key="shop-mode").set_value("This shop alone").run()
    before = titles(page)
    frame = load_catalogue(homes[SHOP]).frame
    item = frame.index[frame["title"] == before[0]][0]
    page.button(key=f"add-{item}").click().run()
    assert "**Basket**: 1 toy" in texts(page)
    assert before[0] not in titles(page)
    assert set(titles(page)) - set(before)
    page.button(key=f"out-{item}").click().run()
    assert titles(page) == before
    page.button(key=f"no-{item}").click().run()
    assert "1 not shown again" in texts(page)
    assert before[0] not in titles(page)
    page.button(key="basket-empty").click().run()
    assert titles(page) == before


def test_a_page_that_is_started_again_has_the_basket_still(
    served: Served, open_page: OpenPage, sign_in: Callable[..., str]
) -> None:
    served()
    page = open_page("shop")
    page.button(key=key_of(page, "add-")).click().run()
    page.button(key=key_of(page, "no-")).click().run()
    told = "**Basket**: 1 toy, 1 not shown again"
    assert told in texts(page)
    again = open_page("shop")  # nothing of the first page's memory is in it
    assert told in texts(again)
    assert titles(again) == titles(page)
    again.button(key="basket-empty").click().run()
    assert "**Basket**" not in texts(open_page("shop"))


@pytest.mark.attack
def test_a_basket_is_nobody_elses(
    served: Served, open_page: OpenPage, sign_in: Callable[..., str]
) -> None:
    served()
    page = open_page("shop")
    page.button(key=key_of(page, "add-")).click().run()
    sign_in(Role.DEMO)
    assert "**Basket**" not in texts(open_page("shop"))


def test_toys_like_one_of_the_cards(served: Served, open_page: OpenPage) -> None:
    served()
    page = open_page("shop")
    key = next(button.key for button in page.button if str(button.key).startswith("like-"))
    page.button(key=key).click().run()
    assert "Much alike" in texts(page)


def test_one_is_told_what_is_known(served: Served, open_page: OpenPage) -> None:
    served()
    page = open_page("shop")
    bought = int(re.search(r"bought (\d+)", page.subheader[0].value)[1])  # type: ignore[index]
    assert f"**{bought} earlier choices**" in texts(page)
    assert len(page.dataframe[0].value) == bought
    assert "until you start over, sign out or your session ends" in texts(page)


def test_more_like_one_toy(served: Served, open_page: OpenPage) -> None:
    served()
    page = open_page("shop")
    wanted = titles(page)[0]
    page.text_input(key="like-words").set_value("qqqq").run()
    assert "No toy of that name" in texts(page)
    page.text_input(key="like-words").set_value(wanted).run()
    assert "Much alike" in texts(page)


@pytest.mark.parametrize(("name", "told"), [(BARE, "no purchases yet"), (SHOP, "no model yet")])
def test_closed_shops_explain_themselves(
    name: str, told: str, served: Served, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from datasites.errors import SettingsError

    served()

    def nothing_served(home: MerchantHome) -> None:
        raise SettingsError("expected a served model, found none")

    monkeypatch.setattr(sys.modules["datasites.merchant.serving"], "open_shop", nothing_served)
    page = open_page("shop")
    page.selectbox(key="at").set_value(name).run()
    assert told in texts(page)
    assert not titles(page)


def test_the_shop_is_opened_again_when_its_files_change(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served(None)
    assert "has not joined a study yet" in texts(open_page("shop"))
    served("toys-2027")
    assert "has not joined a study yet" in texts(open_page("shop"))  # still the open one
    (homes[SHOP].serving / "bundle.json").write_text("{}")
    assert "has not joined a study yet" not in texts(open_page("shop"))


def test_categories_are_offered_where_they_tell_toys_apart() -> None:
    def level(paths: list[str]) -> int | None:
        rows = [{"item_id": f"t{n}", "title": "t", "category_path": p} for n, p in enumerate(paths)]
        return telling_level(Catalogue(pd.DataFrame(rows)))

    assert level(["Toys > Cars"] * 5 + ["Toys > Dolls"] * 5) == 2
    assert level(["Toys > Cars"] * 9 + ["Toys > Dolls"] * 9 + ["Garden > Sand"]) == 2
    assert level(["Cars", "Dolls"]) == 1
    assert level(["Cars"] * 19 + ["Dolls"]) == 1
    assert level(["Toys"] * 3) is None


@pytest.mark.attack
def test_a_title_is_no_markup_anywhere(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    home = homes[SHOP]
    frame = load_catalogue(home).frame
    frame["title"] = [f"{HOSTILE} {number}" for number in range(len(frame))]
    write_catalogue(home.data / "catalogue.parquet", Catalogue(frame))
    served()
    page = open_page("shop")
    page.button(key=key_of(page, "add-")).click().run()
    said = [one.label for one in page.button] + [one.help for one in page.button]
    named = [text for text in said if "tracker" in text]
    assert len(named) > 12
    assert any(one.key.startswith("out-") and "tracker" in one.label for one in page.button)
    for text in named:
        for markup in ("![", "x](", "://", "**", ":red[", " $x"):
            assert markup not in text
    page.button(key=key_of(page, "like-")).click().run()
    assert not page.exception


def test_a_stale_click_on_the_basket_changes_nothing(
    homes: dict[str, MerchantHome], served: Served, open_page: OpenPage
) -> None:
    served()
    page = open_page("shop")
    page.button(key=key_of(page, "add-")).click().run()
    out = key_of(page, "out-")
    stale = page.button(key=out)
    page.session_state[f"basket-{SHOP}"].clear()
    stale.click().run()
    assert not page.exception
