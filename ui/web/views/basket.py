"""What a visitor has put aside on this page: a basket, and toys not to be shown again.

It lives in the visitor's own session, in this process's memory, and ends with it.
"""

from __future__ import annotations

import streamlit as st

from recsys.data import Catalogue
from ui.web.cards import strip, toy_of
from ui.web.plain import plain

__all__ = ["add", "basket_of", "empty", "show_basket", "take_out", "unwanted_of", "unwelcome"]

MOST = 50


def basket_of(shop: str) -> list[int]:
    """Catalogue indices in the basket, oldest first."""
    found: list[int] = st.session_state.setdefault(f"basket-{shop}", [])
    return found


def unwanted_of(shop: str) -> list[int]:
    """Catalogue indices that the visitor does not want to see."""
    found: list[int] = st.session_state.setdefault(f"unwanted-{shop}", [])
    return found


def add(shop: str, item: int) -> None:
    """Put a toy into the basket; what is there already stays where it is."""
    basket = basket_of(shop)
    if item not in basket and len(basket) < MOST:
        basket.append(item)


def take_out(shop: str, item: int) -> None:
    """Take a toy out again; a click on a page that is not up to date may name one that is gone."""
    basket = basket_of(shop)
    if item in basket:
        basket.remove(item)


def unwelcome(shop: str, item: int) -> None:
    """Do not show this toy again."""
    unwanted = unwanted_of(shop)
    if item not in unwanted:
        unwanted.append(item)


def empty(shop: str) -> None:
    """Forget basket and dislikes."""
    st.session_state[f"basket-{shop}"] = []
    st.session_state[f"unwanted-{shop}"] = []


def show_basket(catalogue: Catalogue, shop: str) -> None:
    """The basket as pictures, with a way to take toys out again; nothing while it is empty."""
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
