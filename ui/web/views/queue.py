"""The queue of requests: those that wait come first, and long queues come in pages."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain_error
from ui.web.views.request import show_request

if TYPE_CHECKING:
    from datasites.merchant.desk import Request

__all__ = ["show_queue"]

PER_PAGE = 8
ORDER = ("pending", "approved")
"""What a merchant can act on, foremost."""


@st.fragment
def show_queue(home: MerchantHome, ledger: Ledger) -> None:
    """Every request of a merchant's desk, or a word about what will come.

    Turning a page or searching draws the queue alone anew.
    """
    from datasites.merchant import desk

    demand(Action.SEE_CONSOLE, home.root)  # the session may have ended since the page was drawn
    st.button("Look again", icon=":material/refresh:", key="refresh")
    try:
        found = desk.requests(home, ledger)
        problems = desk.damaged_requests(home, ledger)
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    for problem in problems:
        st.warning(plain_error(problem), icon=":material/broken_image:")
    if not found:
        st.info(
            "**No requests yet.** When a data scientist asks to learn from this shop, the request "
            "waits here with its code, what it would release and what it would cost. Nothing runs "
            "before you approve it."
        )
    for request in _of_this_page(found):
        show_request(home, ledger, request)


def _of_this_page(found: list[Request]) -> list[Request]:
    found = sorted(found, key=lambda one: (*(one.status != status for status in ORDER),))
    if len(found) <= PER_PAGE:
        return found
    counts = Counter(request.status for request in found)
    st.caption(", ".join(f"{number:,} {status}" for status, number in counts.items()))
    words = st.text_input(
        "Find a request",
        placeholder="part of a study's name, of its sender, or a status",
        key="queue-words",
        persist_state="session",
    )
    wanted = words.lower().split()
    kept = [
        one
        for one in found
        if all(word in f"{one.study} {one.sender} {one.status}".lower() for word in wanted)
    ]
    if not kept:
        st.info("No request with these words. Try fewer.")
    pages = max(1, math.ceil(len(kept) / PER_PAGE))
    at = st.pagination(pages, key=f"queue-{pages}") if pages > 1 else 1
    return kept[(at - 1) * PER_PAGE : at * PER_PAGE]
