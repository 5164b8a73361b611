"""Approve, reject, revoke: each asked once more, done by the desk, refused readably."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain, plain_error

if TYPE_CHECKING:
    from datasites.merchant.desk import Review

__all__ = ["approve_form", "reject_form", "revoke_form", "show_decision"]


def show_decision(home: MerchantHome, ledger: Ledger, review: Review) -> None:
    """Buttons for what can be decided now; each asks once more in a dialog."""
    study = review.request.study
    with st.container(horizontal=True):
        if review.request.status == "pending":
            if st.button(
                "Approve …",
                type="primary",
                icon=":material/check:",
                key=f"approve-{study}",
                disabled=bool(review.problems),
            ):
                st.dialog("Approve this study?")(approve_form)(home, ledger, review)
            if st.button("Reject …", icon=":material/close:", key=f"reject-{study}"):
                st.dialog("Reject this study?")(reject_form)(home, ledger, study)
        elif review.request.status == "approved" and st.button(
            "Revoke …", icon=":material/undo:", key=f"revoke-{study}"
        ):
            st.dialog("Revoke this approval?")(revoke_form)(home, ledger, study)


def approve_form(home: MerchantHome, ledger: Ledger, review: Review) -> None:
    """What approving means, for how long, and the button that does it."""
    from datasites.merchant import desk

    request = review.request
    st.write(
        f"**{plain(request.study)}** may then run {len(request.proposal.phases)} times on your "
        f"purchases, with exactly this code and these settings. "
        f"ε {review.cost_epsilon:.3g} of your budget is promised to it."
    )
    days = st.number_input("The approval stands for (days)", 1, 365, desk.APPROVAL_DAYS)
    has_read = review.shipped or st.checkbox(
        "This program is not a recipe of this release. ToyFed adds the noise, so its cost is "
        "certain; what it computes is its author's."
        if review.noised_here
        else "I have read the code. It is not a recipe of this release, so its cost is its "
        "author's word.",
        key="has-read",
    )
    if st.button("Approve", type="primary", key="approve-now", disabled=not has_read):
        try:
            demand(Action.DECIDE, home.root)
            given = desk.approve(
                home,
                ledger,
                request.study,
                by=getpass.getuser(),
                days=int(days),
                read_foreign_code=has_read,
            )
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        _tell(f"Approved {request.study} until {given.expires[:10]}.")


def reject_form(home: MerchantHome, ledger: Ledger, study: str) -> None:
    """The reason that the data scientist sees, and the button."""
    from datasites.merchant import desk

    reason = st.text_input("Reason, sent to the data scientist", key="reason", max_chars=200)
    if st.button("Reject", type="primary", key="reject-now"):
        try:
            demand(Action.DECIDE, home.root)
            desk.reject(
                home, ledger, study, reason=reason or "no reason given", by=getpass.getuser()
            )
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        _tell(f"Rejected {study}.")


def revoke_form(home: MerchantHome, ledger: Ledger, study: str) -> None:
    """What revoking means, and the button."""
    from datasites.merchant import desk

    st.write("Nothing more of it runs. What it has released already stays spent.")
    if st.button("Revoke", type="primary", key="revoke-now"):
        try:
            demand(Action.DECIDE, home.root)
            desk.revoke(home, ledger, study, by=getpass.getuser())
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        _tell(f"Revoked {study}.")


def _tell(text: str) -> None:
    """Close the dialog and show `text` once on the page beneath."""
    st.session_state["told"] = text
    st.rerun()
