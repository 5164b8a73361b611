"""Whether the merchant's service runs, as its heartbeat file says."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from datasites.merchant.heartbeat import service_state
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from ui.web.plain import plain

__all__ = ["show_service"]

_COLOURS: dict[str, Literal["green", "orange", "red", "gray"]] = {
    "well": "green",
    "odd": "orange",
    "bad": "red",
    "off": "gray",
}


def show_service(home: MerchantHome, ledger: Ledger) -> None:
    """A badge, and what to do where something is wrong."""
    from datasites.merchant.desk import has_data

    state = service_state(home, busy=bool(ledger.open_reservations()))
    with st.container(horizontal=True, vertical_alignment="center"):
        colour = _COLOURS[state.how]
        st.badge(f"Service {state.text}", color=colour, icon=":material/sensors:")
        if has_data(home):
            st.badge("Purchases added", color="green", icon=":material/database:")
        else:
            st.badge("No purchases yet", color="orange", icon=":material/database:")
        st.badge("Ledger verified", color="green", icon=":material/verified:")
    if state.detail:
        st.caption(plain(state.detail))
    if not has_data(home):
        st.caption(
            "Add purchases with `toyfed datasite add-data purchases.csv --catalogue items.csv`."
        )
