"""The shop: toys recommended to one shopper, alone or together with other merchants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import streamlit as st

from datasites.merchant.home import MerchantHome
from recsys.errors import ToyFedError
from ui.web.cards import card, grid, strip, toy_of
from ui.web.choice import choose_merchant
from ui.web.doors import Action, may, signed_in
from ui.web.manifest import current_manifest
from ui.web.plain import plain, plain_error
from ui.web.served import served_shop
from ui.web.views.basket import add, basket_of, show_basket, unwanted_of, unwelcome
from ui.web.views.filters import choose_filters
from ui.web.views.forget_me import offer_forgetting
from ui.web.views.shopper import Shopper, choose_shopper, matching

if TYPE_CHECKING:
    from datasites.merchant.serving import Filters, ServedShop, Suggestion

__all__ = ["page"]

CARDS = 12
NEVER_SHARED = (
    "Who bought what never leaves this shop's machine: not to other shops, not to whoever runs the "
    "study. What other shops learn from is noised so that nobody can tell whether any one shopper "
    "was here at all."
)

Mode = Literal["Together with other shops", "This shop alone", "Side by side"]
MODES: tuple[Mode, ...] = ("Together with other shops", "This shop alone", "Side by side")


def page() -> None:
    """Render the page."""
    home = choose_merchant(current_manifest(), "Shop")
    if home is None:
        return
    try:
        shop = served_shop(home)
    except ToyFedError as error:
        _closed(home, error)
        return
    with st.sidebar:
        shopper = choose_shopper(shop)
        filters = choose_filters(shop.catalogue, knows_stock=shop.knows_stock)
    st.title(plain(shop.name), anchor=False)
    st.caption(f":material/lock: {NEVER_SHARED}")
    st.subheader(shopper.label, anchor=False)
    if shopper.history:
        toys = [toy_of(shop.catalogue, item) for item in reversed(shopper.history[-12:])]
        st.html(strip(toys))
    else:
        st.info(shopper.when_empty)
    _floor(home, shop, shopper, filters)
    _more_like_one(shop)


@st.fragment
def _floor(home: MerchantHome, shop: ServedShop, shopper: Shopper, filters: Filters) -> None:
    """Basket and recommendations; a click here runs nothing else of the page again."""
    if _has_changed(home, shop):
        # Somebody may have asked to be forgotten: what this part was drawn from is gone.
        st.rerun(scope="app")
    show_basket(shop)
    _known(home, shop, shopper)
    history = [*shopper.history, *basket_of(shop)]
    # What anybody may choose freely, to find out what goes with it, is no history of one's own.
    own = shopper.bought and not basket_of(shop)
    filters = replace(filters, exclude=(*filters.exclude, *unwanted_of(shop)))
    mode = _choose_mode(shop)
    if mode == "Side by side":
        _side_by_side(shop, history, filters, own=own)
    else:
        found = _recommend(shop, history, filters, together=mode == MODES[0], own=own)
        with st.container(horizontal=True, gap="medium", key="cards"):
            for suggestion in found:
                _card_with_buttons(shop, suggestion)


def _has_changed(home: MerchantHome, shop: ServedShop) -> bool:
    try:
        return served_shop(home) is not shop
    except ToyFedError:
        return True


def _known(home: MerchantHome, shop: ServedShop, shopper: Shopper) -> None:
    """Everything that the recommendations of this page are made of, and where it is."""
    with st.popover("What this shop knows about you", icon=":material/visibility:"):
        titles = shop.catalogue.frame["title"]
        bought = [str(titles.iloc[item]) for item in reversed(shopper.history)]
        if bought:
            st.markdown(f"**{len(bought)} earlier choices**, newest first:")
            st.dataframe({"toy": bought}, hide_index=True, height=min(300, 36 * len(bought) + 40))
        else:
            st.markdown("**No earlier choices.**")
        st.markdown(
            f"**{len(basket_of(shop))} toys in the basket** and "
            f"{len(unwanted_of(shop))} that you do not want to see: on this shop's machine, until "
            "you start over, sign out or your session ends."
        )
        st.caption(NEVER_SHARED)
        if bought:
            offer_forgetting(home, shop)


def _card_with_buttons(shop: ServedShop, suggestion: Suggestion) -> None:
    item = suggestion.item
    title = plain(shop.catalogue.frame["title"].iloc[item])
    with st.container(gap="xsmall"):
        st.html(_card(shop, suggestion))
        with st.container(horizontal=True, gap="xsmall"):
            st.button(
                "Basket",
                icon=":material/add_shopping_cart:",
                help=f"Put {title} into the basket",
                key=f"add-{item}",
                on_click=add,
                args=(shop, item),
            )
            st.button(
                "",
                icon=":material/thumb_down:",
                help=f"Do not show {title} again",
                key=f"no-{item}",
                type="tertiary",
                on_click=unwelcome,
                args=(shop, item),
            )
            if st.button(
                "",
                icon=":material/travel_explore:",
                help=f"Toys like {title}",
                key=f"like-{item}",
                type="tertiary",
            ):
                st.dialog(f"Like {title}", width="large")(_alike)(shop, item)


def _alike(shop: ServedShop, item: int) -> None:
    try:
        found = shop.similar(item, n=6)
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    st.html(grid([_card(shop, one) for one in found]))


def _closed(home: MerchantHome, error: ToyFedError) -> None:
    """Why there is nothing to buy yet, and what comes next."""
    from datasites.merchant.desk import has_data
    from datasites.merchant.stale import is_stale

    st.title(plain(home.settings.name), anchor=False)
    if not has_data(home):
        st.info(
            "**This shop has no purchases yet.** Its owner adds them with "
            "`toyfed datasite add-data purchases.csv --catalogue items.csv`; they stay on this "
            "machine."
        )
        return
    if is_stale(home):
        st.info("**This shop makes its lists anew.** It opens again when that is done.")
        if may(signed_in(), Action.SEE_CONSOLE):
            st.caption("The datasite's service (`toyfed datasite serve`) does it.")
        st.button("Look again", icon=":material/refresh:")
        return
    if not (home.serving / "current.json").exists():
        st.info(
            "**This shop has no model yet.** It opens as soon as a study that its owner approved "
            "on the Merchant page is finished."
        )
    elif may(signed_in(), Action.SEE_CONSOLE):
        st.error(f"This shop cannot be opened: {plain_error(error)}")
    else:
        # The error's text may name files of this machine.
        st.info("This shop is closed just now. Its owner sees the reason on this page.")


def _choose_mode(shop: ServedShop) -> Mode:
    if shop.study is None:
        st.caption(
            "Recommended by this shop alone: it has not joined a study yet. Once it has, this page "
            "compares."
        )
        return "This shop alone"
    chosen: Mode = st.segmented_control(
        "Recommended by",
        MODES,
        default=MODES[0],
        required=True,
        key="shop-mode",
        persist_state="session",
        help="Together: this shop's own model, blended with what all shops learned under privacy.",
    )
    return chosen


def _recommend(
    shop: ServedShop, history: list[int], filters: Filters, *, together: bool, own: bool
) -> list[Suggestion]:
    """What fits, or an empty list after the page has said why."""
    try:
        found = shop.recommend(
            history, n=CARDS, filters=filters, together=together, own_history=own
        )
    except ToyFedError as error:
        st.error(plain_error(error))
        return []
    if not found:
        st.info("No toy that is not bought yet fits these filters. Widen them in the sidebar.")
    return found


def _side_by_side(shop: ServedShop, history: list[int], filters: Filters, *, own: bool) -> None:
    columns = st.columns(2, gap="large")
    with columns[0]:
        st.markdown("##### This shop alone")
        alone = _recommend(shop, history, filters, together=False, own=own)
    with columns[1]:
        st.markdown("##### Together with other shops")
        together = _recommend(shop, history, filters, together=True, own=own)
    known = {suggestion.item for suggestion in alone}
    with columns[0]:
        if alone:
            st.html(grid([_card(shop, suggestion) for suggestion in alone]))
    with columns[1]:
        if together:
            st.html(
                grid(
                    [
                        _card(shop, one, badge="" if one.item in known else "only together")
                        for one in together
                    ]
                )
            )


def _card(shop: ServedShop, suggestion: Suggestion, badge: str = "") -> str:
    return card(toy_of(shop.catalogue, suggestion.item), suggestion.reason, badge)


def _more_like_one(shop: ServedShop) -> None:
    """Toys like a chosen one, as anybody may ask: out of what several shoppers stand behind."""
    titles = shop.catalogue.frame["title"]
    with st.expander("More like one toy"):
        words = st.text_input(
            "Search a toy", placeholder="such as: train", key="like-words", persist_state="session"
        )
        hits = matching(shop.catalogue, words)[:200] if words.strip() else []
        if words.strip() and not hits:
            st.info("No toy of that name. Try fewer words.")
        if not hits:
            return
        item = st.selectbox(
            "Toy", hits, format_func=lambda index: titles.iloc[index], key="like-item"
        )
        try:
            st.html(grid([_card(shop, one) for one in shop.similar(item, n=6)]))
        except ToyFedError as error:
            st.error(plain_error(error))
