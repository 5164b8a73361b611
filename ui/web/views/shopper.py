"""Who is shopping: one of the shop's shoppers by position, or somebody who picks a few toys."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from datasites.errors import SettingsError
from recsys.data import Catalogue
from ui.web.doors import Action, Person, demand, may, signed_in

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["Shopper", "choose_shopper", "matching"]

LISTED = 3000
"""Toys that one select box lists; larger catalogues are searched first."""
OF_THE_SHOP, BY_TASTE = "A shopper of this shop", "Toys that you like"


@dataclass(frozen=True)
class Shopper:
    """Whom to recommend to. Privacy: `history` stays at the merchant; `label` holds no id.

    Args:
        label: how the page calls them.
        history: catalogue indices, oldest first.
        when_empty: what to say without one.
        bought: whether the history is what somebody really bought here, and no free choice.
    """

    label: str
    history: list[int]
    when_empty: str
    bought: bool


def choose_shopper(shop: ServedShop) -> Shopper:
    """Whoever is signed in; in a demo, widgets that choose a shopper.

    Neither URL nor log ever holds a shopper's id. Raises SignInError if nobody is signed in.
    """
    person = signed_in()
    if person.shopper is not None:
        return _signed_in(shop, person)
    if not may(person, Action.PICK_SHOPPER):
        return _by_taste(shop.catalogue)
    options = [OF_THE_SHOP, BY_TASTE] if shop.shopper_ids else [BY_TASTE]
    who = st.radio("Who is shopping?", options, key="shop-who", persist_state="session")
    if who == OF_THE_SHOP:
        return _of_the_shop(shop)
    return _by_taste(shop.catalogue)


def _signed_in(shop: ServedShop, person: Person) -> Shopper:
    """The one shopper whose session this is, whatever the page or its address says."""
    assert person.shopper is not None
    try:
        history = shop.history(person.shopper)
    except (SettingsError, ValueError):
        history = []
    return Shopper(
        label="For you",
        history=history,
        when_empty="This shop knows of nothing that you bought, so these are toys that many "
        "families choose.",
        bought=bool(history),
    )


def _of_the_shop(shop: ServedShop) -> Shopper:
    demand(Action.PICK_SHOPPER)
    count = len(shop.shopper_ids)
    key = f"shopper-{shop.name}"
    # Purchases may have been replaced by fewer since the number was chosen.
    st.session_state[key] = min(st.session_state.get(key, 1), count)
    number = st.number_input(
        f"Shopper (1 to {count:,})", 1, count, key=key, persist_state="session"
    )
    st.button(
        "Somebody else", icon=":material/casino:", on_click=_draw, args=(key, count), key="draw"
    )
    history = shop.history(shop.shopper_ids[number - 1])
    bought = f"bought {len(history)} toy{'' if len(history) == 1 else 's'}"
    return Shopper(
        label=f"Shopper {number}" + (f" · {bought}" if history else " · new here"),
        history=history,
        when_empty="A new shopper: nothing bought yet, so these are toys that many families "
        "choose. With the first purchase they become personal.",
        bought=bool(history),
    )


def _draw(key: str, count: int) -> None:
    st.session_state[key] = secrets.randbelow(count) + 1


def _by_taste(catalogue: Catalogue) -> Shopper:
    titles = catalogue.frame["title"]
    options = list(range(catalogue.n_items))
    kept = [item for item in st.session_state.get("liked", []) if item < catalogue.n_items]
    if catalogue.n_items > LISTED:
        words = st.text_input(
            "Search toys",
            placeholder="such as: wooden train",
            key="liked-words",
            persist_state="session",
        )
        hits = matching(catalogue, words)[:LISTED]
        options = list(dict.fromkeys(kept + hits))
    st.session_state["liked"] = kept
    liked = st.multiselect(
        "Toys that you like",
        options,
        format_func=lambda item: titles.iloc[item],
        max_selections=20,
        placeholder="Pick a few",
        key="liked",
        persist_state="session",
    )
    return Shopper(
        label="Toys that you like" if liked else "A new face",
        history=list(liked),
        when_empty="Pick a few toys that you like in the sidebar. Until then these are toys that "
        "many families choose.",
        bought=False,
    )


def matching(catalogue: Catalogue, words: str) -> list[int]:
    """Catalogue indices of toys whose title, category and brand together hold every word."""
    text = [text.lower() for text in catalogue.text()]
    wanted = words.lower().split()
    return [item for item, one in enumerate(text) if all(word in one for word in wanted)]
