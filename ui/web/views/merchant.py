"""The merchant console: service, budget, requests to decide, what joining brought, the ledger."""

from __future__ import annotations

import streamlit as st

from datasites.errors import LedgerError
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from recsys.errors import ToyFedError
from ui.web.choice import choose_merchant
from ui.web.doors import Action, demand
from ui.web.manifest import Manifest, current_manifest
from ui.web.plain import plain, plain_error
from ui.web.views.budget import show_budget
from ui.web.views.data import show_data
from ui.web.views.gains import show_gains
from ui.web.views.ledger import show_ledger
from ui.web.views.peers import show_peers
from ui.web.views.queue import show_queue
from ui.web.views.runs import show_runs
from ui.web.views.service import show_service

__all__ = ["page"]


def page() -> None:
    """Render the page."""
    manifest = current_manifest()
    home = choose_merchant(manifest, "Merchant")
    if home is None:
        return
    demand(Action.SEE_CONSOLE, home.root)
    st.title(plain(home.settings.name), anchor=False)
    _where_it_runs(manifest)
    told = st.session_state.pop("told", None)
    if told:
        st.toast(plain(told), icon=":material/check_circle:")
    try:
        ledger = Ledger.open(home.ledger_path)
    except LedgerError as error:
        st.badge("Ledger does not verify", icon=":material/gpp_bad:", color="red")
        st.error(
            f"{plain_error(error)}\n\nNothing runs and nothing can be approved until this is "
            "settled.",
            icon=":material/error:",
        )
        return
    _live(home, ledger)
    asked, ran, gains, book, known, data = st.tabs(
        [
            ":material/inbox: Requests",
            ":material/terminal: Runs",
            ":material/trending_up: What joining brought",
            ":material/menu_book: Ledger",
            ":material/handshake: Peers",
            ":material/database: Data",
        ],
        key="merchant-tab",
    )
    with asked:
        show_queue(home, ledger)
    with ran:
        show_runs(home, ledger)
    with gains:
        show_gains(home)
    with book:
        show_ledger(home, ledger)
    with known:
        show_peers(home, ledger)
    with data:
        show_data(home)


def _where_it_runs(manifest: Manifest) -> None:
    if manifest.simulation:
        st.caption(
            ":material/science: A simulation: all merchants live on this one machine, so that you "
            "can see each of them. In earnest each merchant sees its own page, on its own machine."
        )
    else:
        st.caption(
            ":material/lock: This page runs on your machine and shows what only you may see."
        )


@st.fragment(run_every=5)
def _live(home: MerchantHome, ledger: Ledger) -> None:
    """Service and budget, looked at again every few seconds: a study may be running."""
    try:
        demand(Action.SEE_CONSOLE, home.root)
        show_service(home, ledger)
        show_budget(ledger)
    except ToyFedError as error:
        st.error(plain_error(error))
