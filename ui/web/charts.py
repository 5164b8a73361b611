"""Charts of a report; colours come from the page's theme, so light and dark both work."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

__all__ = [
    "cost_chart",
    "expected_chart",
    "groups_chart",
    "merchants_chart",
    "models_chart",
    "norms_chart",
    "privacy_chart",
    "released_chart",
    "spending_chart",
    "toy_map_chart",
]

ALONE, TOGETHER = "alone", "together"
ALONE_COLOUR, TOGETHER_COLOUR, QUIET = "#8d99ae", "#e4572e", "#4c9f70"
ROW = 26
_COLOURS = [
    *("#e4572e", "#3d7ea6", "#4c9f70", "#8e5ea2", "#c98a00", "#d6458b", "#2a9d8f"),
    *("#6b705c", "#5a67d8", "#a44a3f", "#7fb800", "#00798c", "#9c6644"),
]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross"]
AXIS = 64
"""Pixels that a chart's axis, its title and a legend take of the height given."""


def models_chart(rows: pd.DataFrame, label: str) -> Any:
    """One bar per model with its interval; `together` stands out."""
    order = list(rows["title"])
    base = alt.Chart(rows).encode(y=alt.Y("title:N", sort=order, title=None, axis=_names()))
    bars = base.mark_bar(cornerRadiusEnd=5, height=ROW - 8).encode(
        x=alt.X("value:Q", title=label, scale=alt.Scale(zero=True), axis=_numbers()),
        color=alt.Color(
            "model:N",
            scale=alt.Scale(
                domain=list(rows["model"]),
                range=[
                    TOGETHER_COLOUR if model == "federated" else ALONE_COLOUR
                    for model in rows["model"]
                ],
            ),
            legend=None,
        ),
        tooltip=[
            alt.Tooltip("title:N", title="model"),
            alt.Tooltip("value:Q", title=label, format=".4f"),
            alt.Tooltip("low:Q", title="from", format=".4f"),
            alt.Tooltip("high:Q", title="to", format=".4f"),
        ],
    )
    height = (ROW + 4) * len(rows) + AXIS
    known = rows.dropna(subset=["low", "high"])
    if known.empty:
        return bars.properties(height=height)
    whiskers = (
        alt.Chart(known)
        .mark_rule(strokeWidth=2, color="#f2b134")
        .encode(y=alt.Y("title:N", sort=order), x="low:Q", x2="high:Q")
    )
    return (bars + whiskers).properties(height=height)


def merchants_chart(table: pd.DataFrame, label: str) -> Any:
    """One line per merchant from alone to together, the greatest gain first.

    Args:
        table: columns merchant, alone, federated.
        label: the metric as people read it.
    """
    table = table.assign(gain=table["federated"] - table["alone"]).sort_values(
        "gain", ascending=False
    )
    order = list(table["merchant"])
    axis = alt.Y("merchant:N", sort=order, title=None, axis=_names())
    # Gain and loss are told apart by colour and by the direction of the line.
    lines = (
        alt.Chart(table)
        .mark_rule(strokeWidth=3, opacity=0.55)
        .encode(
            y=axis,
            x=alt.X("alone:Q", title=label, scale=alt.Scale(zero=False), axis=_numbers()),
            x2="federated:Q",
            color=alt.condition("datum.gain >= 0", alt.value(QUIET), alt.value("#d00000")),
        )
    )
    long = table.rename(columns={"federated": TOGETHER}).melt(
        ["merchant", "gain"], [ALONE, TOGETHER], "how", "value"
    )
    points = (
        alt.Chart(long)
        .mark_circle(size=110, opacity=1)
        .encode(
            y=axis,
            x="value:Q",
            color=alt.Color(
                "how:N",
                scale=alt.Scale(domain=[ALONE, TOGETHER], range=[ALONE_COLOUR, TOGETHER_COLOUR]),
                title=None,
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                "merchant:N",
                alt.Tooltip("how:N", title="recommended"),
                alt.Tooltip("value:Q", title=label, format=".4f"),
                alt.Tooltip("gain:Q", title="gain", format="+.4f"),
            ],
        )
    )
    return (lines + points).properties(height=ROW * len(table) + AXIS + 50)


def privacy_chart(table: pd.DataFrame) -> Any:
    """Epsilon that each merchant's shoppers paid."""
    return (
        alt.Chart(table)
        .mark_bar(cornerRadiusEnd=5, height=ROW - 10, color=QUIET)
        .encode(
            y=alt.Y("merchant:N", sort="-x", title=None, axis=_names()),
            x=alt.X("epsilon:Q", title="epsilon", scale=alt.Scale(zero=True), axis=_numbers()),
            tooltip=[
                "merchant:N",
                alt.Tooltip("epsilon:Q", format=".3f"),
                alt.Tooltip("delta:Q", format=".0e"),
                alt.Tooltip("events:Q", title="releases"),
            ],
        )
        .properties(height=ROW * len(table) + AXIS)
    )


def cost_chart(table: pd.DataFrame) -> Any:
    """Seconds of each phase, in the order in which they ran."""
    return (
        alt.Chart(table)
        .mark_bar(cornerRadiusEnd=5, height=ROW - 10, color="#3d7ea6")
        .encode(
            y=alt.Y("phase:N", sort=list(table["phase"]), title=None, axis=_names()),
            x=alt.X("seconds:Q", title="seconds", axis=_numbers()),
            tooltip=[
                "phase:N",
                alt.Tooltip("seconds:Q", format=",.1f"),
                alt.Tooltip("peak_mb:Q", title="peak memory, MB", format=",.0f"),
            ],
        )
        .properties(height=ROW * len(table) + AXIS)
    )


def expected_chart(curves: pd.DataFrame, recipe: str, epsilon: float) -> Any:
    """What joining brought over epsilon, with intervals; the chosen recipe stands out.

    Args:
        curves: columns recipe, epsilon, gain, low, high.
        recipe: the chosen one.
        epsilon: the chosen one, drawn as a line.
    """
    x = alt.X("epsilon:Q", title="ε", scale=alt.Scale(type="log", base=2), axis=_numbers())
    shown = curves[curves["recipe"] == recipe]
    base = alt.Chart(shown).encode(x=x)
    band = base.mark_area(opacity=0.25, color=TOGETHER_COLOUR).encode(
        y=alt.Y("low:Q", title="gain in NDCG@10"), y2="high:Q"
    )
    line = base.mark_line(point=True, color=TOGETHER_COLOUR).encode(
        y="gain:Q",
        tooltip=[
            alt.Tooltip("epsilon:Q", title="ε"),
            alt.Tooltip("gain:Q", format="+.4f"),
            alt.Tooltip("low:Q", title="from", format="+.4f"),
            alt.Tooltip("high:Q", title="to", format="+.4f"),
        ],
    )
    marks = pd.DataFrame({"epsilon": [epsilon], "zero": [0.0]})
    chosen = alt.Chart(marks).mark_rule(strokeDash=[4, 4], color=QUIET).encode(x="epsilon:Q")
    zero = alt.Chart(marks).mark_rule(color=ALONE_COLOUR).encode(y="zero:Q")
    return (zero + band + line + chosen).properties(height=220)


def groups_chart(table: pd.DataFrame) -> Any:
    """What joining adds in each group, with its interval; groups from top to bottom.

    Args:
        table: columns group, gain, low, high, n, alone, together.
    """
    order = list(table["group"])
    base = alt.Chart(table).encode(y=alt.Y("group:N", sort=order, title=None, axis=_names()))
    tooltip = [
        "group:N",
        alt.Tooltip("n:Q", title="shoppers", format=",.0f"),
        alt.Tooltip("alone:Q", format=".4f"),
        alt.Tooltip("together:Q", format=".4f"),
        alt.Tooltip("gain:Q", format="+.4f"),
    ]
    whiskers = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("low:Q", title="NDCG@10, together minus alone", axis=_numbers()), x2="high:Q"
    )
    points = base.mark_circle(size=120, opacity=1).encode(
        x="gain:Q",
        tooltip=tooltip,
        color=alt.condition("datum.gain >= 0", alt.value(QUIET), alt.value("#d00000")),
    )
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    return (zero + whiskers + points).properties(height=(ROW + 8) * len(table) + AXIS)


def toy_map_chart(table: pd.DataFrame) -> Any:
    """Toys as points: near ones are alike to the model. Hover for the title, drag and zoom.

    Args:
        table: columns x, y, title, category, brand, price, found.
    """
    click = alt.selection_point(fields=["category"], bind="legend")
    return (
        alt.Chart(table)
        .mark_point(filled=True)
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
            color=alt.Color(
                "category:N",
                title=None,
                scale=alt.Scale(range=_COLOURS),
                legend=alt.Legend(orient="right", symbolOpacity=1),
            ),
            # Every other category has another shape: no pair is told apart by colour alone.
            shape=alt.Shape("category:N", title=None, scale=alt.Scale(range=_SHAPES)),
            size=alt.condition("datum.found", alt.value(60), alt.value(20)),
            opacity=alt.condition(click & "datum.found", alt.value(0.95), alt.value(0.12)),
            order=alt.Order("found:Q"),
            tooltip=["title:N", "category:N", "brand:N", alt.Tooltip("price:Q", format=".2f")],
        )
        .add_params(click)
        .properties(height=560)
        .interactive()
    )


def norms_chart(table: pd.DataFrame) -> Any:
    """Norms of one array of the updates: a point per merchant, phases in order.

    Args:
        table: columns phase, merchant, norm.
    """
    phases = list(dict.fromkeys(sorted(table["phase"], key=_natural)))
    return (
        alt.Chart(table)
        .mark_circle(size=90, opacity=0.85)
        .encode(
            x=alt.X("phase:N", sort=phases, title=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("norm:Q", title="norm", scale=alt.Scale(zero=False), axis=_numbers()),
            color=alt.Color("merchant:N", title=None, legend=alt.Legend(orient="right")),
            tooltip=["phase:N", "merchant:N", alt.Tooltip("norm:Q", format=".4g")],
        )
        .properties(height=max(160, 24 * table["merchant"].nunique()))
    )


def released_chart(table: pd.DataFrame) -> Any:
    """Figures as released, one row per study within each figure, with what noise leaves open.

    Args:
        table: columns study, figure, mean, low, high.
    """
    studies, figures = (list(dict.fromkeys(table[name])) for name in ("study", "figure"))
    base = alt.Chart(table).encode(
        y=alt.Y("figure:N", sort=figures, title=None, axis=_names()),
        yOffset=alt.YOffset("study:N", sort=studies),
        color=alt.Color(
            "study:N",
            scale=alt.Scale(domain=studies, range=_COLOURS),
            title=None,
            legend=alt.Legend(orient="top"),
        ),
    )
    whiskers = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("low:Q", title="mean", axis=_numbers()), x2="high:Q"
    )
    points = base.mark_circle(size=110, opacity=1).encode(
        x="mean:Q",
        tooltip=[
            "study:N",
            "figure:N",
            alt.Tooltip("mean:Q", format=".4f"),
            alt.Tooltip("low:Q", title="from", format=".4f"),
            alt.Tooltip("high:Q", title="to", format=".4f"),
        ],
    )
    height = (14 * len(studies) + 16) * len(figures) + AXIS + 30
    return (whiskers + points).properties(height=height)


def spending_chart(table: pd.DataFrame, budget: float) -> Any:
    """A running total that rises with each study, below the line of the budget.

    Args:
        table: columns at (datetime), study, period, epsilon; in order.
        budget: epsilon of one period.
    """
    base = alt.Chart(table).encode(
        x=alt.X("at:T", title=None, axis=alt.Axis(format="%Y-%m-%d %H:%M", tickCount=5)),
        y=alt.Y("epsilon:Q", title="ε spent, in all", axis=_numbers()),
        detail="period:N",
    )
    steps = base.mark_line(interpolate="step-after", strokeWidth=3, color=TOGETHER_COLOUR)
    points = base.mark_circle(size=70, opacity=1, color=TOGETHER_COLOUR).encode(
        tooltip=[
            alt.Tooltip("study:N"),
            alt.Tooltip("at:T", title="last run", format="%Y-%m-%d %H:%M"),
            alt.Tooltip("epsilon:Q", title="ε so far", format=".3f"),
            alt.Tooltip("period:N"),
        ]
    )
    line = pd.DataFrame({"epsilon": [budget], "what": ["budget"]})
    limit = (
        alt.Chart(line)
        .mark_rule(strokeDash=[6, 4], strokeWidth=2, color=QUIET)
        .encode(y="epsilon:Q", tooltip=["what:N", alt.Tooltip("epsilon:Q", format="g")])
    )
    return (limit + steps + points).properties(height=220)


def _natural(name: str) -> tuple[str, int]:
    """als-10 after als-9."""
    head, _, tail = name.rpartition("-")
    return (head, int(tail)) if tail.isdigit() else (name, -1)


def _names() -> Any:
    return alt.Axis(
        labelLimit=260,
        labelFontSize=13,
        labelOverlap=False,
        labelFlush=False,  # or the first and last stand beside their rows
        ticks=False,
        domain=False,
    )


def _numbers() -> Any:
    return alt.Axis(tickCount=7)
