"""The shop: toys recommended to one shopper, alone or together with other merchants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

from datasites.merchant.home import MerchantHome
from recsys.errors import ToyFedError
from ui.web.cards import card, grid, strip, toy_of
from ui.web.choice import choose_merchant
from ui.web.manifest import current_manifest
from ui.web.served import served_shop
from ui.web.views.filters import choose_filters
from ui.web.views.shopper import choose_shopper, matching

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
        filters = choose_filters(shop.catalogue)
    st.title(shop.name, anchor=False)
    st.caption(f":material/lock: {NEVER_SHARED}")
    st.subheader(shopper.label, anchor=False)
    if shopper.history:
        toys = [toy_of(shop.catalogue, item) for item in reversed(shopper.history[-12:])]
        st.html(strip(toys))
    else:
        st.info(shopper.when_empty)
    mode = _choose_mode(shop)
    if mode == "Side by side":
        _side_by_side(shop, shopper.history, filters)
    else:
        found = _recommend(shop, shopper.history, filters, together=mode == MODES[0])
        if found:
            st.html(grid([_card(shop, suggestion) for suggestion in found]))
    _more_like_one(shop)


def _closed(home: MerchantHome, error: ToyFedError) -> None:
    """Why there is nothing to buy yet, and what comes next."""
    from datasites.merchant.desk import has_data

    st.title(home.settings.name, anchor=False)
    if not has_data(home):
        st.info(
            "**This shop has no purchases yet.** Its owner adds them with "
            "`toyfed datasite add-data purchases.csv --catalogue items.csv`; they stay on this "
            "machine."
        )
        return
    st.info(
        "**This shop has no model yet.** It opens as soon as a study that its owner approved on "
        "the Merchant page is finished."
    )
    st.caption(str(error))


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
    shop: ServedShop, history: list[int], filters: Filters, *, together: bool
) -> list[Suggestion]:
    """What fits, or an empty list after the page has said why."""
    try:
        found = shop.recommend(history, n=CARDS, filters=filters, together=together)
    except ToyFedError as error:
        st.error(str(error))
        return []
    if not found:
        st.info("No toy that is not bought yet fits these filters. Widen them in the sidebar.")
    return found


def _side_by_side(shop: ServedShop, history: list[int], filters: Filters) -> None:
    columns = st.columns(2, gap="large")
    with columns[0]:
        st.markdown("##### This shop alone")
        alone = _recommend(shop, history, filters, together=False)
    with columns[1]:
        st.markdown("##### Together with other shops")
        together = _recommend(shop, history, filters, together=True)
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
    """Toys like a chosen one; nobody's purchases are needed for that."""
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
            st.error(str(error))
