"""Studies side by side: what was asked, what it cost, how good it was as released."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from datasites.study.home import ScientistHome
from ui.web.charts import released_chart
from ui.web.studies import STATES, StudyFacts, released

__all__ = ["show_compare"]

MOST = 6
"""Studies that are still told apart side by side."""


def show_compare(home: ScientistHome, facts: list[StudyFacts]) -> None:
    """Choose two or more, see where they differ."""
    known = {one.name: one for one in facts if not one.problem}
    if len(known) < 2:
        st.info("**Nothing to compare yet.** With a second study this shows where they differ.")
        return
    finished = [name for name, one in known.items() if one.state == "finished"]
    names = st.multiselect(
        "Studies",
        list(known),
        default=(finished if len(finished) > 1 else list(known))[:2],
        max_selections=MOST,
        key="compare",
        persist_state="session",
        placeholder="Two or more",
    )
    if len(names) < 2:
        st.caption("Choose two or more.")
        return
    chosen = [known[name] for name in names]
    _settings(chosen)
    _quality(home, chosen)


def _settings(chosen: list[StudyFacts]) -> None:
    table = settings_table(chosen)
    differs = table.nunique(axis=1) > 1
    everything = st.toggle(
        "What is the same too", value=False, key="compare-all", persist_state="session"
    )
    st.markdown("**What was asked, and what it cost**")
    st.dataframe(table if everything else table[differs])
    same = int((~differs).sum())
    if same and not everything:
        st.caption(f"{same} more settings are the same.")


def settings_table(chosen: list[StudyFacts]) -> pd.DataFrame:
    """One column per study, one row per setting, as text; "" where a study lacks it."""
    columns: dict[str, dict[str, str]] = {}
    for one in chosen:
        answered = {who for names in one.contributors.values() for who in names}
        told: dict[str, Any] = {
            "state": STATES.get(one.state, one.state),
            "recipe": one.recipe,
            "ε of each shopper": f"{one.epsilon:g}",
            "δ": f"{one.delta:g}",
            "merge": one.merge,
            "merchants": len(one.merchants),
            "took part": len(answered) if one.phases else "",
            "phases that somebody missed": sum(bool(who) for who in one.dropped.values()) or "",
            "phases": len(one.phases) or "",
        }
        told |= {f"[model] {name}": value for name, value in one.model.items()}
        columns[one.name] = {name: str(value) for name, value in told.items()}
    order = list(dict.fromkeys(name for column in columns.values() for name in column))
    return pd.DataFrame(columns, index=order).fillna("")


def _quality(home: ScientistHome, chosen: list[StudyFacts]) -> None:
    table = pd.concat([released(home, one.name) for one in chosen])
    st.markdown("**How good, as released**")
    if table.empty:
        st.caption("None of them released figures of quality (the recipe private-als can).")
        return
    st.altair_chart(released_chart(table), width="stretch")
    st.caption(
        "Means over shoppers on the merchants' `valid` splits. Whiskers are what the booked noise "
        "leaves open (95 %); where they overlap, nothing is proven. `content` releases nothing of "
        "anybody and is there for comparison."
    )
    st.download_button(
        "As CSV",
        table.to_csv(index=False),
        "studies.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
