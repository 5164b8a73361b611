"""The choice that all pages share: which merchant."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from datasites.errors import SettingsError
from datasites.merchant.home import MerchantHome
from ui.web.manifest import Manifest

__all__ = ["choose_merchant"]


def choose_merchant(manifest: Manifest, label: str) -> MerchantHome | None:
    """A select box in the sidebar; the choice is kept in the URL, so it survives page switches.

    A shop's name is public. None after the page has said why there is nothing to choose.
    """
    names: dict[str, Path] = manifest.names()
    if not names:
        st.info(
            "No merchant lives on this machine. A merchant starts with `toyfed datasite init`, "
            "then `toyfed web --datasite HOME` shows it here."
        )
        return None
    with st.sidebar:
        chosen = st.selectbox(label, list(names), key="at", bind="query-params")
    try:
        return MerchantHome.open(names[chosen])
    except SettingsError as error:
        st.error(f"This datasite cannot be opened: {error}")
        return None
