"""A shopper's own button: what she bought here is forgotten."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import streamlit as st

from datasites.merchant.home import MerchantHome
from recsys.errors import ToyFedError
from ui.errors import DoorError
from ui.web.doors import Action, demand, end_others, may, signed_in
from ui.web.plain import plain_error
from ui.web.views.basket import empty

if TYPE_CHECKING:
    from datasites.merchant.serving import ServedShop

__all__ = ["forget_form", "offer_forgetting"]


def offer_forgetting(home: MerchantHome, shop: ServedShop) -> None:
    """A button for whoever is signed in as one shopper; nobody else sees one."""
    person = signed_in()
    if person.shopper is None or not may(person, Action.FORGET_ME):
        return
    if st.button("Forget what I bought", icon=":material/delete_forever:", key="forget-me"):
        st.dialog("Forget what you bought here?")(forget_form)(home, shop)


def forget_form(home: MerchantHome, shop: ServedShop) -> None:
    """What forgetting means, and the button that does it."""
    st.markdown(
        "This shop deletes your purchases, and leaves them out when it adds purchases again. "
        "Recommendations start from nothing.\n\n"
        "What other shops learned from this one before cannot be taken back. It was noised so that "
        "nobody can tell from it whether you were ever here."
    )
    if st.button("Yes, forget it", type="primary", key="forget-me-yes"):
        from datasites.errors import DatasiteError
        from datasites.merchant.fit import refit
        from datasites.merchant.forget import forget

        # Whose purchases: the session alone says it, whatever this page was sent.
        person = demand(Action.FORGET_ME, home.root)
        if person.shopper is None:
            st.error("Expected the session of one shopper, found one of nobody in particular.")
            return
        try:
            forget(home, person.shopper)
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        except OSError:
            st.error(
                "Your purchases could not be deleted just now, because this shop's disk is full "
                "or cannot be written. Try again later, or ask the shop to do it for you."
            )
            return
        empty(shop)
        with contextlib.suppress(DoorError):
            end_others(home.root, person)
        # Where it fails the shop stays closed, and the datasite's service tries again.
        with (
            st.spinner("Making this shop's lists anew, without your purchases …"),
            contextlib.suppress(DatasiteError, OSError),
        ):
            refit(home)
        st.rerun()
