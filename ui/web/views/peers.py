"""Who is paired, the words to compare with each, and messages that were refused."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from datasites.merchant import peers, refused
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.quarantine import Refused
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain_error

__all__ = ["peers_table", "quarantine_table", "show_peers"]

SHOWN = 100


def show_peers(home: MerchantHome, ledger: Ledger) -> None:
    """Two tables. Everything in them is shown as text: peers choose some of the words."""
    try:
        known = peers.seen(home, ledger)["peers"]
        kept = refused.quarantine(home).entries()
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    for peer in known:
        if peer["state"] == "key_changed":
            st.error(
                "**The key of a peer is not the one you paired with.** Nothing is exchanged with "
                "it. Somebody may be posing as them: ask them in person. Only if they did make a "
                "new key, revoke them and pair again.",
                icon=":material/key_off:",
            )
            st.code(
                f"{peer['email']}\npaired with  {peer['fingerprint']}\n"
                f"shown now    {peer.get('shown_now', '')}",
                language=None,
            )
    if known:
        st.dataframe(peers_table(known), hide_index=True, key="peers")
        st.caption(
            "Both of you see the same twelve words if nobody stands between you. Let them read "
            "theirs by phone, and type what you hear, not what you see."
        )
        _decide(home, ledger, [str(peer["email"]) for peer in known])
    else:
        st.info("**Nobody has asked to pair yet.** Data scientists ask with `toyfed study pair`.")
    if kept:
        st.markdown(f"**Quarantine**: {len(kept)} messages that broke a rule and were not acted on")
        st.dataframe(quarantine_table(kept[:SHOWN]), hide_index=True, key="quarantine")
        st.caption("`toyfed datasite quarantine --show ID` shows the beginning of one.")
        if st.button("Clear the quarantine", icon=":material/delete:", key="quarantine-clear"):
            try:
                demand(Action.CLEAR_QUARANTINE, home.root)
                removed = refused.quarantine(home).clear()
            except ToyFedError as error:
                st.error(plain_error(error))
                return
            _tell(f"Removed {removed} entries.")


def _decide(home: MerchantHome, ledger: Ledger, emails: list[str]) -> None:
    with st.expander("Pair with a peer, or stop hearing it"):
        who = st.selectbox("Peer", emails, key="peer-who")
        code = st.text_input("The twelve words that you heard", key="peer-code", max_chars=300)
        with st.container(horizontal=True):
            pair = st.button("Pair", type="primary", key="peer-pair", disabled=not code)
            part = st.button("Revoke at once", icon=":material/block:", key="peer-revoke")
        try:
            if pair:
                demand(Action.PAIR, home.root)
                peers.approve(home, ledger, who, code=code, by=getpass.getuser())
                _tell(f"{who} is paired at the service's next pass.")
            if part:
                demand(Action.PAIR, home.root)
                peers.revoke(home, ledger, who, by=getpass.getuser())
                _tell(f"{who} is not heard any more. Its runs end; what they cost stays spent.")
        except ToyFedError as error:
            st.error(plain_error(error))


def _tell(text: str) -> None:
    """Show `text` once on the fresh page."""
    st.session_state["told"] = text
    st.rerun()


def peers_table(known: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Peers as people read them."""
    rows = [
        {
            "peer": peer["email"],
            "state": str(peer["state"]).replace("_", " "),
            "pairing code": peer.get("code") or "waiting for their key",
        }
        for peer in known
    ]
    return pd.DataFrame(rows, columns=["peer", "state", "pairing code"])


def quarantine_table(entries: Iterable[Refused]) -> pd.DataFrame:
    """Refused messages, newest first."""
    rows = [
        {
            "ID": entry.id,
            "when": entry.at[:19].replace("T", " "),
            "from": entry.sender,
            "why": entry.reason,
            "bytes": entry.size,
            "sha256": entry.sha256[:12],
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=["ID", "when", "from", "why", "bytes", "sha256"])
