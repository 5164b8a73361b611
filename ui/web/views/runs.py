"""Runs of approved code: when, how it ended, what it used, and its log, which stays here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from ui.web.doors import Action, demand
from ui.web.plain import plain

__all__ = ["run_rows", "show_runs"]

LOG_SHOWN = 20_000
ENDED = {"committed": "released", "failed": "failed", "reserved": "running"}


def show_runs(home: MerchantHome, ledger: Ledger) -> None:
    """A table of runs, newest first, and the log of a chosen one."""
    rows = run_rows(home, ledger)
    if not rows:
        st.info("**Nothing has run yet.** After you approve a study, its runs are listed here.")
        return
    table = pd.DataFrame(rows)
    st.dataframe(
        table.drop(columns="why"),
        hide_index=True,
        column_config={
            "epsilon": st.column_config.NumberColumn("ε by itself", format="%.3g"),
            "seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
            "peak_mb": st.column_config.NumberColumn("peak memory, MB", format="%.0f"),
            "released_bytes": st.column_config.NumberColumn("released, bytes", format="localized"),
        },
    )
    chosen = st.selectbox("Log of", list(table["run"]), key="run-log")
    why = table.set_index("run").loc[chosen, "why"]
    if why:
        st.warning(f"It ended with: {plain(why)}")
    demand(Action.SEE_CONSOLE, home.root)
    text = _log(home.runs / chosen / "log.txt")
    if text is None:
        st.caption("Its log is not kept any more, or it printed nothing.")
    else:
        st.code(text or "(it printed nothing)", language=None, height=260)
    st.caption(
        ":material/lock: Logs and reasons stay on this machine: what code prints may depend on "
        "shoppers. The data scientist learns only that a run failed."
    )


def run_rows(home: MerchantHome, ledger: Ledger) -> list[dict[str, Any]]:
    """One row per run, newest first; what the ledger books and what the run's folder says."""
    from recsys.privacy import event_from_dict, spent

    found: dict[str, dict[str, Any]] = {}
    delta = ledger.budget.delta
    for entry in ledger.entries():
        if entry.kind == "reserved":
            events = [event_from_dict(event) for event in entry.body["events"]]
            found[str(entry.body["job"])] = {
                "run": str(entry.body["job"]),
                "study": entry.study,
                "phase": str(entry.body["phase"]),
                "started": entry.at[:19].replace("T", " "),
                "ended": ENDED["reserved"],
                "epsilon": spent(events, delta),
                "released_bytes": None,
                "why": "",
            }
        elif entry.kind in ("committed", "failed") and entry.body.get("job") in found:
            row = found[str(entry.body["job"])]
            row["ended"] = ENDED[entry.kind]
            if entry.kind == "committed":
                row["released_bytes"] = int(entry.body["released"]["bytes"])
            else:
                row["why"] = str(entry.body["reason"])
        elif entry.kind == "revoked":
            for row in found.values():
                if row["study"] == entry.study and row["ended"] == ENDED["reserved"]:
                    row["ended"] = "revoked"
    for job, row in found.items():
        row |= _outcome(home.runs / job / "outcome.json")
    return list(reversed(found.values()))


def _outcome(file: Path) -> dict[str, float | None]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        return {"seconds": float(facts["seconds"]), "peak_mb": float(facts["peak_mb"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"seconds": None, "peak_mb": None}


def _log(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")[-LOG_SHOWN:]
    except OSError:
        return None
