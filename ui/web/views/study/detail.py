"""One study: what to do next, how its rounds go, what came of it."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError
from ui.web.charts import norms_chart
from ui.web.doors import Action, at_demand, demand
from ui.web.plain import plain, plain_error
from ui.web.studies import StudyFacts, norms, releases, study_facts
from ui.web.views.study.actions import show_actions

if TYPE_CHECKING:
    from datasites.study.journal import Moment

__all__ = ["show_study"]

SHOWN = 200
WORDS = {
    "phase": ":material/play_arrow: **{phase}**: state published, jobs sent",
    "answer": ":material/check: {merchant} released its update",
    "dropped": ":material/person_off: {merchant} left out: {detail}",
    "merged": ":material/merge: **{phase}** merged, {detail} updates",
    "model": ":material/deployed_code: the model is written",
    "delivered": ":material/storefront: {merchant} serves the model",
    "away": ":material/cloud_off: waiting: {detail}",
    "back": ":material/cloud_done: the share is back: going on",
}


def show_study(home: ScientistHome, name: str) -> None:
    """Everything about one study."""
    facts = study_facts(home, name)
    if facts.problem:
        st.error(plain_error(facts.problem))
        return
    _live(home, name)
    if facts.phases:
        with st.expander("What it releases and costs"):
            _plan(home, name)
    if facts.state == "finished":
        _artefact(home, name)


@st.fragment(run_every=2)
def _live(home: ScientistHome, name: str) -> None:
    """Looked at again every two seconds, so that rounds can be watched."""
    demand(Action.SEE_STUDIES)  # the session may have ended since the page was drawn
    facts = study_facts(home, name)
    show_actions(home, facts)
    if not facts.phases:
        return
    now = _current(facts)
    st.progress(
        len(facts.finished) / len(facts.phases),
        text=f"{len(facts.finished)} of {len(facts.phases)} phases"
        + (f", now {plain(now)}" if facts.state == "running" and now else ""),
    )
    st.dataframe(_who(facts), hide_index=False)
    table = norms(home, name)
    if len(table):
        with st.expander("Size of each update (as released, noise included)"):
            for array, rows in table.groupby("array"):
                st.markdown(f"`{array}`")
                st.altair_chart(norms_chart(rows), width="stretch")
    _happened(home, name)


def _current(facts: StudyFacts) -> str:
    return next((phase for phase in facts.phases if phase not in facts.finished), "")


def _who(facts: StudyFacts) -> pd.DataFrame:
    """Merchants against phases: who answered, who was left out."""
    rows = {}
    for merchant in facts.merchants:
        cells = []
        for phase in facts.phases:
            if merchant in facts.contributors.get(phase, ()):
                cells.append("✓")
            elif merchant in facts.dropped.get(phase, {}):
                cells.append("left out")
            else:
                cells.append("" if phase not in facts.finished else "–")
        rows[merchant] = [*cells, "✓" if merchant in facts.delivered else ""]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*facts.phases, "serves it"])


def _happened(home: ScientistHome, name: str) -> None:
    from datasites.study.journal import read_journal

    moments: list[Moment] = read_journal(home.study(name))
    if not moments:
        return
    with st.expander("What happened", expanded=False), st.container(height=280):
        for moment in reversed(moments[-SHOWN:]):
            filled = WORDS.get(moment.progress.what, "something of another release").format(
                phase=plain(moment.progress.phase),
                merchant=plain(moment.progress.merchant),
                detail=plain(moment.progress.detail),
            )
            st.markdown(f"{moment.at:%Y-%m-%d %H:%M:%S} {filled}")


def _plan(home: ScientistHome, name: str) -> None:
    from datasites.protocol import Proposal

    try:
        proposal = Proposal.model_validate_json((home.study(name) / "proposal.json").read_bytes())
    except (OSError, ValueError):  # pydantic's error is a ValueError
        st.error(
            "Expected this study's proposal.json as it was submitted, found it missing or damaged. "
            "Put its copy back; without one, submit the study under a new name."
        )
        return
    st.dataframe(
        releases(proposal),
        hide_index=True,
        column_config={"epsilon": st.column_config.NumberColumn("ε by itself", format="%.3g")},
    )


def _artefact(home: ScientistHome, name: str) -> None:
    demand(Action.TAKE_MODEL)
    folder = home.study(name) / "artefact"
    try:
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        card = files["MODEL_CARD.md"].decode()
    except (OSError, KeyError, UnicodeDecodeError, ToyFedError):
        st.error("The artefact cannot be read: run the study again, it is written anew.")
        return
    with st.container(horizontal=True):
        for label, file in (("Model card", "MODEL_CARD.md"), ("Manifest", "manifest.json")):
            if file in files:
                st.download_button(
                    label, files[file], file, icon=":material/download:", on_click="ignore"
                )
        st.download_button(
            "Everything",
            at_demand(Action.TAKE_MODEL, lambda: _zip(files)),
            f"{name}.zip",
            "application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
        )
    with st.container(border=True):
        st.markdown(card)


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()
