"""Submit, run, stop: what can be done with a study now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import streamlit as st

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain, plain_error
from ui.web.studies import StudyFacts
from ui.web.views.study.trying import show_tried, try_study

__all__ = ["show_actions"]


def show_actions(home: ScientistHome, facts: StudyFacts) -> None:
    """Buttons for what can come next, and a word on what is waited for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if facts.state == "draft":
            if st.button("Submit to the merchants", type="primary", key=f"submit-{facts.name}"):
                _submit(home, facts.name)
            if st.button(
                "Try it on mock purchases",
                icon=":material/experiment:",
                key=f"try-{facts.name}",
                help="Runs here, in the sandbox that merchants use. Nothing is sent.",
            ):
                try_study(home, facts.name)
        elif facts.state == "running":
            if st.button("Stop", icon=":material/pause:", key=f"stop-{facts.name}"):
                _stop(home, facts.name)
            st.caption("What merchants have released stays; running again goes on from there.")
        elif facts.state in ("submitted", "stopped"):
            word = "Run" if facts.state == "submitted" else "Go on"
            if st.button(
                word, type="primary", icon=":material/play_arrow:", key=f"run-{facts.name}"
            ):
                _run(home, facts.name)
            if st.button(
                "Ask what the merchants said", icon=":material/refresh:", key=f"ask-{facts.name}"
            ):
                _ask(home, facts.name)
    show_tried(home, facts.name)
    answers = st.session_state.get(f"answers-{facts.name}")
    if answers:
        st.dataframe(
            [
                {"merchant": merchant, "answer": answer, "message": message}
                for merchant, (answer, message) in answers.items()
            ],
            hide_index=True,
        )
    last = _last_line(home, facts.name)
    if facts.state == "stopped" and last:
        st.caption(f"It stopped with: {plain(last)}")


def _submit(home: ScientistHome, name: str) -> None:
    from datasites.study import submit
    from datasites.syftbox import ScientistLink

    try:
        demand(Action.COMPOSE_STUDY)
        with st.spinner("Sending it to every merchant …"):
            link = ScientistLink(home.settings.email, home.root, home.settings.share)
            submit(home, link, name)
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    st.session_state["told"] = f"Sent {name}. Merchants see it on their console."
    st.rerun(scope="app")


def _ask(home: ScientistHome, name: str) -> None:
    from datasites.study import Coordinator
    from datasites.syftbox import ScientistLink

    try:
        demand(Action.COMPOSE_STUDY)
        with st.spinner("Asking …"):
            link = ScientistLink(home.settings.email, home.root, home.settings.share)
            st.session_state[f"answers-{name}"] = Coordinator(home, link, name).answers()
    except ToyFedError as error:
        st.error(plain_error(error))


def _run(home: ScientistHome, name: str) -> None:
    """Start `toyfed study run` in a process of its own: it outlives this page."""
    from datasites.study.journal import running_pid

    demand(Action.RUN_STUDY)
    if running_pid(home.study(name)) is not None:
        st.toast(f"{plain(name)} runs already.", icon=":material/play_arrow:")
        return
    log = home.study(name) / "run.log"
    command = "import sys; from ui.cli import main; sys.exit(main())"
    # Appended: of two runs started at once one ends at the lock, and must not cut the other's log.
    with log.open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-c", command, "study", "run", name, "--home", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    st.toast(f"Started {plain(name)}.", icon=":material/play_arrow:")


def _stop(home: ScientistHome, name: str) -> None:
    from datasites.study.journal import running_pid

    demand(Action.RUN_STUDY)
    pid = running_pid(home.study(name))
    if pid:
        os.kill(pid, signal.SIGTERM)
        st.toast(f"Stopping {plain(name)}; it can go on later.", icon=":material/pause:")


def _last_line(home: ScientistHome, name: str) -> str:
    try:
        lines = (home.study(name) / "run.log").read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
