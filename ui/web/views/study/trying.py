"""A study tried on mock purchases, on this machine, before anything is sent."""

from __future__ import annotations

from typing import Any

import streamlit as st

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain, plain_error

__all__ = ["show_tried", "try_study"]


def try_study(home: ScientistHome, name: str) -> None:
    """Run every phase, telling each as it ends; keeps the table in this visitor's session."""
    demand(Action.COMPOSE_STUDY)
    with st.status("Trying it on mock purchases …") as status:
        try:
            rows = _tried(home, name)
        except ToyFedError as error:
            status.update(label="It did not go well", state="error", expanded=True)
            st.error(plain_error(error))
            st.session_state.pop(_key(name), None)
            return
        status.update(label="It went well; nothing was sent", state="complete")
    st.session_state[_key(name)] = rows


def show_tried(name: str) -> None:
    """The table of the last time that this study was tried, if it was."""
    rows = st.session_state.get(_key(name))
    if rows:
        st.dataframe(rows, hide_index=True)
        st.caption("On a few invented shoppers: real runs take longer. Nothing was sent.")


def _key(name: str) -> str:
    return f"tried-{name}"


def _tried(home: ScientistHome, name: str) -> list[dict[str, Any]]:
    from datasites.study.desk import compose
    from datasites.study.rehearsal import rehearse
    from datasites.study.trial import try_program

    if compose(home, name).recipe == "custom":
        return [
            {
                "phase": one.phase,
                "rows": one.rows,
                "failed": one.failed,
                "median length": one.median_norm,
                "cut at": one.clip,
                "rows cut": one.clipped,
                "ms each": one.milliseconds,
                "said": plain(one.said),
            }
            for one in try_program(home, name)
        ]
    rows: list[dict[str, Any]] = []
    for one in rehearse(home, name):
        st.write(f":material/check: {plain(one.phase)}")
        rows.append(
            {
                "phase": one.phase,
                "each merchant would send": ", ".join(one.arrays),
                "bytes": one.sends_bytes,
                "seconds": round(one.seconds, 1),
                "peak MB": round(one.peak_mb),
            }
        )
    return rows
