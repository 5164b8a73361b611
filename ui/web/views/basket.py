"""What a visitor has put aside on this page: a basket, and toys not to be shown again.

It belongs to the visitor's own session. It is in this process's memory and, so that a page which
is started again loses nothing, beside the session in a private file; it ends with the session.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import streamlit as st

from ui.errors import SignInError
from ui.web.cards import strip, toy_of
from ui.web.doors import keep, kept
from ui.web.plain import plain

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["add", "basket_of", "empty", "show_basket", "take_out", "unwanted_of", "unwelcome"]

MOST, MOST_UNWANTED = 50, 500
BASKET, UNWANTED = "basket", "unwanted"


def basket_of(shop: ServedShop) -> list[int]:
    """Catalogue indices in the basket, oldest first."""
    return _toys(shop, BASKET)


def unwanted_of(shop: ServedShop) -> list[int]:
    """Catalogue indices that the visitor does not want to see."""
    return _toys(shop, UNWANTED)


def add(shop: ServedShop, item: int) -> None:
    """Put a toy into the basket; what is there already stays where it is."""
    basket = basket_of(shop)
    if item not in basket and len(basket) < MOST:
        basket.append(item)
        _keep(shop, BASKET)


def take_out(shop: ServedShop, item: int) -> None:
    """Take a toy out again; a click on a page that is not up to date may name one that is gone."""
    basket = basket_of(shop)
    if item in basket:
        basket.remove(item)
        _keep(shop, BASKET)


def unwelcome(shop: ServedShop, item: int) -> None:
    """Do not show this toy again."""
    unwanted = unwanted_of(shop)
    if item not in unwanted and len(unwanted) < MOST_UNWANTED:
        unwanted.append(item)
        _keep(shop, UNWANTED)


def empty(shop: ServedShop) -> None:
    """Forget basket and dislikes."""
    for what in (BASKET, UNWANTED):
        st.session_state[_key(shop, what)] = []
        _keep(shop, what)


def _key(shop: ServedShop, what: str) -> str:
    return f"{what}-{shop.name}"


def _toys(shop: ServedShop, what: str) -> list[int]:
    key = _key(shop, what)
    if key not in st.session_state:
        st.session_state[key] = _kept(shop, what)
    found: list[int] = st.session_state[key]
    return found


def _keep(shop: ServedShop, what: str) -> None:
    # By their ids: another catalogue may number its toys otherwise.
    ids = [str(shop.catalogue.item_ids[item]) for item in st.session_state[_key(shop, what)]]
    with contextlib.suppress(SignInError):
        keep(_key(shop, what), json.dumps(ids))


def _kept(shop: ServedShop, what: str) -> list[int]:
    """What this session put aside before the page was started again."""
    try:
        ids = json.loads(kept(_key(shop, what)) or "[]")
    except SignInError:
        return []
    index = shop.catalogue.index_of
    return [index[one] for one in ids if one in index]


def show_basket(shop: ServedShop) -> None:
    """The basket as pictures, with a way to take toys out again; nothing while it is empty."""
    catalogue = shop.catalogue
    basket, unwanted = basket_of(shop), unwanted_of(shop)
    # A catalogue may have been replaced by a smaller one since.
    basket[:] = [item for item in basket if item < catalogue.n_items]
    unwanted[:] = [item for item in unwanted if item < catalogue.n_items]
    if not basket and not unwanted:
        return
    with st.container(border=True, key="basket"):
        count = f"{len(basket)} toy{'' if len(basket) == 1 else 's'}"
        hidden = f", {len(unwanted)} not shown again" if unwanted else ""
        st.markdown(f":material/shopping_basket: **Basket**: {count}{hidden}")
        if basket:
            st.html(strip([toy_of(catalogue, item) for item in reversed(basket)]))
        titles = catalogue.frame["title"]
        with st.container(horizontal=True):
            for item in reversed(basket):
                st.button(
                    plain(titles.iloc[item]),
                    icon=":material/close:",
                    help="Take it out of the basket",
                    key=f"out-{item}",
                    type="tertiary",
                    on_click=take_out,
                    args=(shop, item),
                )
            st.button("Start over", key="basket-empty", on_click=empty, args=(shop,))
