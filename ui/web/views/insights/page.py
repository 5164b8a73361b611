"""Insights: how good the recommendations are, who gains, what privacy and time it cost."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from datasites.errors import SettingsError
from ui.web.charts import cost_chart, merchants_chart, models_chart, privacy_chart
from ui.web.doors import Action, demand
from ui.web.manifest import current_manifest
from ui.web.plain import plain, plain_error
from ui.web.report import Gain, Report, dearest_privacy, read_report
from ui.web.views.insights.download import chart_and_downloads
from ui.web.views.insights.more import show_breadth, show_curve, show_groups, show_toy_map

__all__ = ["page"]

CHARTED = ("ndcg@10", "hr@10")


def page() -> None:
    """Render the page."""
    demand(Action.SEE_INSIGHTS)
    manifest = current_manifest()
    st.title("Insights", anchor=False)
    report = _open(manifest.report)
    if report is None:
        show_toy_map(manifest)
        show_curve()
        return
    if manifest.simulation:
        st.warning(
            "**These exact figures exist only because this is a simulation on one machine.** In a "
            "real marketplace nobody may see them: each merchant sees its own, and only noised "
            "sums leave it.",
            icon=":material/science:",
        )
    _headline(report)
    if report.gain is not None:
        _joining(report.gain)
    quality, merchants, breadth, toys, privacy, cost, table = st.tabs(
        ["Quality", "Who gains", "Breadth", "Map of toys", "Privacy", "Cost", "All figures"],
        key="insights-tab",
        bind="query-params",
    )
    with quality:
        _quality(report)
    with merchants:
        _merchants(report)
        show_groups(report)
    with breadth:
        show_breadth(report)
    if toys.open:  # laying out takes seconds: only for those who look
        with toys:
            show_toy_map(manifest)
    with privacy:
        _privacy(report)
        show_curve()
    with cost:
        _cost(report)
    with table:
        _table(report)


def _open(path: Path | None) -> Report | None:
    """The report, or None after the page has said why there is none."""
    if path is None:
        st.info(
            "**No report here.** Exact comparisons need one process that sees every merchant's "
            "purchases, which only a simulation may do: `toyfed demo --report FILE` writes one. "
            "Each merchant's own figures are on its Merchant page."
        )
        return None
    try:
        stat = path.stat() if path.exists() else None
        return _read(str(path), (stat.st_mtime_ns, stat.st_size) if stat else (0, 0))
    except SettingsError as error:
        st.info(plain_error(error))
        return None


@st.cache_data(max_entries=8, show_spinner=False)
def _read(path: str, stamp: tuple[int, int]) -> Report:
    del stamp  # only there to read again when the file changes
    return read_report(Path(path))


def _headline(report: Report) -> None:
    columns = st.columns(4)
    for column, metric in zip(columns, CHARTED, strict=False):
        rows = report.overall(metric).set_index("model")["value"]
        if {"alone", "federated"} <= set(rows.index) and rows["alone"] > 0:
            column.metric(
                f"{plain(_label(metric))}, together",
                f"{rows['federated']:.4f}",
                f"{rows['federated'] / rows['alone'] - 1:+.1%} against alone",
                border=True,
                height="stretch",
            )
    gains = report.of_merchants("ndcg@10", ("alone", "federated"))
    if len(gains):
        better = int((gains["federated"] >= gains["alone"]).sum())
        columns[2].metric(
            "Merchants not worse off", f"{better} of {len(gains)}", border=True, height="stretch"
        )
    epsilon, delta = dearest_privacy(report)
    if epsilon:
        columns[3].metric(
            "Privacy of every shopper",
            f"ε {epsilon:.3g}",
            help=f"At delta {delta:g}: the most that any merchant's shoppers paid for everything "
            "that was released.",
            border=True,
            height="stretch",
        )


def _joining(gain: Gain) -> None:
    """The answer to the question that the market is about, in one sentence."""
    sure = "" if gain.low > 0 or gain.high < 0 else " The interval holds zero: it may be chance."
    st.markdown(
        f":material/join_inner: **Joining adds {gain.mean:+.4f} NDCG@10** (95 %: {gain.low:+.4f} "
        f"to {gain.high:+.4f}), paired over {gain.n:,} shoppers.{sure}"
    )


def _quality(report: Report) -> None:
    shown = [metric for metric in CHARTED if metric in report.metrics()]
    for column, metric in zip(st.columns(max(1, len(shown))), shown, strict=True):
        with column:
            st.markdown(f"**{plain(_label(metric))}**")
            rows = report.overall(metric)
            chart_and_downloads(models_chart(rows, _label(metric)), rows, metric)
    st.caption(
        "Over all shoppers of all merchants; yellow lines are 95 % intervals. HR@10: how often "
        "the toy bought next is among ten recommended. NDCG@10: the same, and more the higher it "
        "stands."
    )


def _merchants(report: Report) -> None:
    metric = st.segmented_control(
        "Figure",
        [metric for metric in CHARTED if metric in report.metrics()] or report.metrics()[:1],
        format_func=_label,
        default=CHARTED[0] if CHARTED[0] in report.metrics() else None,
        key="gain-metric",
        persist_state="session",
    )
    table = report.of_merchants(metric or CHARTED[0], ("alone", "federated"))
    if table.empty:
        st.info("This report does not compare merchants alone and together.")
        return
    chart = merchants_chart(table, _label(metric or CHARTED[0]))
    chart_and_downloads(chart, table, "merchants alone and together")


def _privacy(report: Report) -> None:
    table = report.privacy
    if table.empty:
        st.info("This report says nothing about privacy: nothing was released.")
        return
    chart_and_downloads(privacy_chart(table), table, "privacy spent")
    st.caption(
        "What one shopper's presence at a merchant can change in everything that was released: at "
        "most a factor e^ε in any probability, save for probability δ."
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "epsilon": st.column_config.NumberColumn("ε spent", format="%.4g"),
            "delta": st.column_config.NumberColumn("δ", format="%.0e"),
            "events": st.column_config.NumberColumn(
                "releases", help="Noised arrays that left; each is booked as an event."
            ),
            "budget": st.column_config.NumberColumn("ε budget", format="%.4g"),
        },
    )


def _cost(report: Report) -> None:
    if report.cost.empty:
        st.info("This report says nothing about time and memory.")
        return
    chart_and_downloads(cost_chart(report.cost), report.cost, "cost")
    st.dataframe(
        report.cost,
        hide_index=True,
        column_config={
            "seconds": st.column_config.NumberColumn(format="%.1f"),
            "peak_mb": st.column_config.NumberColumn("peak memory, MB", format="%.0f"),
        },
    )


def _table(report: Report) -> None:
    with st.container(horizontal=True):
        st.download_button(
            "JSON",
            report.raw,
            "report.json",
            "application/json",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "CSV",
            report.csv(),
            "report.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    wide = report.figures.pivot_table(
        index=["merchant", "title"], columns="metric", values="value", sort=False
    )
    st.dataframe(wide.reset_index().rename(columns={"title": "model"}), hide_index=True)
    with st.expander("Settings of this report"):
        st.json(report.settings)


def _label(metric: str) -> str:
    return metric.upper() if "@" in metric else metric
