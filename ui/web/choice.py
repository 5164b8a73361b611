"""The choice that all pages share: which merchant."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from datasites.errors import SettingsError
from datasites.merchant.home import MerchantHome
from ui.web.doors import Role, signed_in
from ui.web.manifest import Manifest
from ui.web.plain import plain_error

__all__ = ["choose_merchant"]


def choose_merchant(manifest: Manifest, label: str) -> MerchantHome | None:
    """The one merchant that a session belongs to; where it belongs to none, a select box.

    The choice is kept in the URL, so that it survives page switches: a shop's name is public.
    None after the page has said why there is nothing to choose.

    Raises: SignInError if nobody is signed in.
    """
    person = signed_in()
    names: dict[str, Path] = manifest.names()
    if person.merchant is not None:
        mine = person.merchant.resolve()
        names = {name: root for name, root in names.items() if root.resolve() == mine}
    elif person.role not in (Role.DEMO, Role.SHOPPER):
        names = {}
    if not names:
        st.info(
            "No merchant lives on this machine. A merchant starts with `toyfed datasite init`, "
            "then `toyfed web --datasite HOME` shows it here."
        )
        return None
    if len(names) == 1 and person.merchant is not None:
        return _open(next(iter(names.values())))
    with st.sidebar:
        chosen = st.selectbox(label, list(names), key="at", bind="query-params")
    return _open(names[chosen])


def _open(root: Path) -> MerchantHome | None:
    try:
        return MerchantHome.open(root)
    except SettingsError as error:
        if signed_in().role in (Role.MERCHANT, Role.DEMO):
            st.error(f"This datasite cannot be opened: {plain_error(error)}")
        else:
            # Its text may name files of this machine, or quote one.
            st.info("This shop is closed just now. Its owner sees why on the merchant's page.")
        return None
