"""A form for a new study that shows what it costs, and what to expect, as one types."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError
from recsys.federation import DEFAULT_MERGE, merge_named, merge_names
from ui.web.charts import expected_chart
from ui.web.doors import Action, demand
from ui.web.plain import plain_error
from ui.web.studies import expected_quality, releases

__all__ = ["show_compose"]


def show_compose(home: ScientistHome) -> None:
    """Widgets, the plan that they amount to, and the button that writes study.toml."""
    from datasites.recipes import recipe_named, recipe_names

    left, right = st.columns([2, 3], gap="large")
    with left:
        name = st.text_input(
            "Name", placeholder="toys-2026", key="new-name", help="Merchants keep it for ever."
        )
        recipe = st.selectbox(
            "Recipe",
            [one for one in recipe_names() if one != "custom"],
            format_func=lambda one: f"{one} · {recipe_named(one).title}",
            key="new-recipe",
            help="The Recipes page says when to choose which.",
        )
        merchants = st.multiselect(
            "Merchants",
            _merchants(home),
            default=_merchants(home),
            key="new-merchants",
            placeholder="pair with a merchant first: toyfed study pair",
        )
        epsilon = st.slider(
            "ε of each shopper, everything counted",
            0.1,
            16.0,
            1.0,
            0.1,
            key="new-epsilon",
            help="Smaller is more private and noisier. Each merchant's ledger must have it left.",
        )
        delta = st.select_slider(
            "δ", [1e-8, 1e-7, 1e-6, 1e-5, 1e-4], 1e-5, key="new-delta", format_func="{:g}".format
        )
        known = recipe_named(recipe).complete({})
        model: dict[str, Any] = {}
        if "rounds" in known:
            model["rounds"] = int(
                st.number_input("Rounds", 1, 100, int(known["rounds"]), key=f"new-rounds-{recipe}")
            )
        merge = st.selectbox(
            "Merge",
            merge_names(),
            index=merge_names().index(DEFAULT_MERGE),
            key="new-merge",
            format_func=lambda one: f"{one} · {merge_named(one).about}",
            help="How updates become one model. Changes nothing about privacy.",
        )
    values = {
        "study": {
            "name": name or "unnamed",
            "recipe": recipe,
            "merchants": merchants or ["nobody@example.org"],
        },
        "privacy": {"epsilon": float(epsilon), "delta": float(delta)},
        "model": model,
        "federation": {"merge": merge},
    }
    with right:
        _plan(home, values, recipe, float(epsilon))
    with left:
        if st.button(
            "Write this study",
            type="primary",
            icon=":material/edit_document:",
            disabled=not (name and merchants),
            key="new-write",
        ):
            _write(home, values)


def _merchants(home: ScientistHome) -> list[str]:
    """Paired merchants, from the pinned peer list; nothing is asked of the share."""
    from datasites.study.home import paired_merchants

    try:
        return paired_merchants(home)
    except ToyFedError as error:
        st.warning(plain_error(error))
        return []


def _plan(home: ScientistHome, values: dict[str, Any], recipe: str, epsilon: float) -> None:
    from datasites.study import parse_study
    from datasites.study.desk import plan

    try:
        table = releases(plan(home, parse_study(values)))
    except ToyFedError as error:
        st.warning(plain_error(error), icon=":material/edit:")
        return
    st.markdown("**What each merchant would release**")
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "epsilon": st.column_config.NumberColumn("ε by itself", format="%.3g"),
            "releases": st.column_config.TextColumn("releases", width="medium"),
        },
    )
    st.caption(
        f"Together at most ε {epsilon:g}: the parts' epsilons do not add up. Noise is in units of "
        "what one shopper can change at most."
    )
    curves = expected_quality()
    st.markdown("**What to expect of joining**")
    st.altair_chart(expected_chart(curves, recipe, epsilon), width="stretch")
    st.caption(_nearest(curves, recipe, epsilon))


def _nearest(curves: pd.DataFrame, recipe: str, epsilon: float) -> str:
    rows = curves[curves["recipe"] == recipe]
    where = "on real toys (8 merchants, 19,412 shoppers, own noise, test split)"
    if rows.empty:
        return f"`{recipe}` was not measured {where}."
    row = rows.iloc[(rows["epsilon"] - epsilon).abs().argmin()]
    sure = row["low"] > 0 or row["high"] < 0
    return (
        f"Measured {where}: at ε {row['epsilon']:g} joining added {row['gain']:+.4f} NDCG@10 "
        f"({row['low']:+.4f} to {row['high']:+.4f}) to .0677"
        + ("." if sure else ", which may be chance.")
        + " More shoppers, other toys: other figures."
    )


def _write(home: ScientistHome, values: dict[str, Any]) -> None:
    from datasites.study import new_study, parse_study

    try:
        demand(Action.COMPOSE_STUDY)
        folder = new_study(home, parse_study(values))
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    name = values["study"]["name"]
    st.session_state["told"] = f"Wrote {folder / 'study.toml'}. Submit it under Studies."
    st.session_state["study"] = name
    st.rerun()
