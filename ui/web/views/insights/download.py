"""A chart with its numbers and its picture to take along."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import streamlit as st

from ui.web.doors import Action, at_demand

__all__ = ["chart_and_downloads"]


def chart_and_downloads(chart: Any, table: pd.DataFrame, name: str) -> None:
    """Show a chart, and beneath it buttons for CSV and PNG; the picture is made when asked for.

    Args:
        chart: from Altair.
        table: the figures shown.
        name: of the files.
    """
    st.altair_chart(chart, width="stretch")
    file = name.replace(" ", "-").replace("@", "-at-")
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            at_demand(Action.SEE_INSIGHTS, lambda: table.to_csv(index=False)),
            f"{file}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            key=f"csv-{file}",
            type="tertiary",
        )
        st.download_button(
            "PNG",
            at_demand(Action.SEE_INSIGHTS, lambda: _picture(chart)),
            f"{file}.png",
            "image/png",
            icon=":material/image:",
            on_click="ignore",
            key=f"png-{file}",
            type="tertiary",
        )


def _picture(chart: Any) -> bytes:
    target = io.BytesIO()
    chart.save(target, format="png", scale_factor=2)
    return target.getvalue()
