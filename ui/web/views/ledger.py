"""The ledger as a timeline and a table, verified as it is read."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Entry, Ledger, export_text, spending_over_time
from recsys.errors import ToyFedError
from ui.ledger_words import cost_of, in_words, when
from ui.web.charts import spending_chart
from ui.web.doors import Action, at_demand
from ui.web.plain import plain_error

__all__ = ["ledger_table", "show_ledger"]

SHOWN = 500


def show_ledger(home: MerchantHome, ledger: Ledger) -> None:
    """Badge, the running total, a table of the newest entries, export of all."""
    try:
        entries = ledger.entries()
    except ToyFedError as error:
        st.badge("Ledger does not verify", icon=":material/gpp_bad:", color="red")
        st.error(plain_error(error))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(
            f"Chain of {len(entries):,} entries verified", icon=":material/verified:", color="green"
        )
        with_notes = st.toggle(
            "Notes too",
            value=True,
            key="ledger-notes",
            persist_state="session",
            help="Notes book nothing; they tell what happened.",
        )
        st.download_button(
            "Export",
            at_demand(Action.TAKE_LEDGER, lambda: export_text(ledger.entries()), home.root),
            file_name="ledger.jsonl",
            mime="application/jsonl",
            icon=":material/download:",
            on_click="ignore",
        )
    moments = _over_time(str(home.root), entries[-1].hash, entries)
    if len(moments) > 1:
        st.altair_chart(spending_chart(moments, ledger.budget.epsilon), width="stretch")
        st.caption(
            "ε of all releases together, after each study; the dashed line is the budget"
            + (" of a period." if ledger.period().days else ".")
        )
    shown = [entry for entry in entries if with_notes or not entry.note]
    st.dataframe(
        ledger_table(shown[-SHOWN:], ledger.budget.delta),
        hide_index=True,
        column_config={
            "#": st.column_config.NumberColumn(width="small"),
            "detail": st.column_config.TextColumn(width="large"),
        },
    )
    if len(shown) > SHOWN:
        st.caption(f"The newest {SHOWN} of {len(shown):,}; the export has all.")


@st.cache_data(max_entries=8, show_spinner=False)
def _over_time(root: str, head: str, _entries: list[Entry]) -> pd.DataFrame:
    """The running total; worked out again when the chain has grown."""
    del root, head  # they say which entries these are
    found = spending_over_time(_entries)[-SHOWN:]
    table = pd.DataFrame([vars(one) for one in found])
    return table.assign(at=pd.to_datetime(table["at"]))


def ledger_table(entries: list[Entry], delta: float) -> pd.DataFrame:
    """Entries as people read them, newest first; `cost` is epsilon of that run by itself."""
    rows = [
        {
            "#": entry.seq,
            "when": when(entry.at),
            "what": f"{entry.kind} (note)" if entry.note else entry.kind,
            "study": entry.study,
            "cost": "" if (cost := cost_of(entry, delta)) is None else f"ε {cost:.3f}",
            "detail": in_words(entry),
        }
        for entry in reversed(entries)
    ]
    return pd.DataFrame(rows, columns=["#", "when", "what", "study", "cost", "detail"])
