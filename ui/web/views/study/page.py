"""The desk's first look: all studies, one of them in full, or a new one."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from datasites.errors import SettingsError
from datasites.study.home import ScientistHome
from ui.web.doors import Action, demand
from ui.web.manifest import current_manifest
from ui.web.plain import plain, plain_error
from ui.web.studies import STATES, StudyFacts, study_facts
from ui.web.views.study.compare import show_compare
from ui.web.views.study.compose import show_compose
from ui.web.views.study.detail import show_study

__all__ = ["page"]


def page() -> None:
    """Render the page."""
    demand(Action.SEE_STUDIES)
    manifest = current_manifest()
    st.title("Study desk", anchor=False)
    if manifest.scientist is None:
        st.info(
            "**No study desk lives on this machine.** A data scientist starts with "
            "`toyfed study init`, then `toyfed web --study HOME` shows it here."
        )
        return
    try:
        home = ScientistHome.open(manifest.scientist)
    except SettingsError as error:
        st.error(f"This study desk cannot be opened: {plain_error(error)}")
        return
    st.caption(
        f":material/badge: `{home.settings.email}` · all you see here has left its datasite noised "
        "and booked; no purchase is on this machine."
    )
    told = st.session_state.pop("told", None)
    if told:
        st.toast(plain(told), icon=":material/check_circle:")
    studies, new, compare = st.tabs(
        [
            ":material/science: Studies",
            ":material/add: New study",
            ":material/compare_arrows: Compare",
        ],
        key="study-tab",
    )
    facts = [study_facts(home, name) for name in reversed(home.names())]
    with new:
        show_compose(home)
    with studies:
        _studies(home, facts)
    with compare:
        show_compare(home, facts)


def _studies(home: ScientistHome, facts: list[StudyFacts]) -> None:
    if not facts:
        st.info("**No studies yet.** Compose the first one under *New study*.")
        return
    st.dataframe(_table(facts), hide_index=True, column_config=_COLUMNS)
    chosen = st.selectbox(
        "Look at",
        [one.name for one in facts],
        key="study",
        bind="query-params",
        help="The link in the address bar leads back here.",
    )
    show_study(home, chosen)


_COLUMNS = {
    "epsilon": st.column_config.NumberColumn("ε", format="%.3g", help="Of each shopper, in all."),
    "progress": st.column_config.ProgressColumn("phases", min_value=0, max_value=1),
    "merchants": st.column_config.NumberColumn("merchants", format="%d"),
}


def _table(facts: list[StudyFacts]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "study": one.name,
                "state": STATES.get(one.state, one.state),
                "recipe": one.recipe,
                "epsilon": one.epsilon,
                "merge": one.merge,
                "merchants": len(one.merchants),
                "progress": len(one.finished) / len(one.phases) if one.phases else 0.0,
            }
            for one in facts
        ]
    )
