"""What joining brought this shop: exact figures on its own shoppers, which stay here."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from datasites.merchant.home import MerchantHome

__all__ = ["read_quality", "show_gains"]

FIGURES = (("ndcg@10", "NDCG@10"), ("hr@10", "HR@10"))
COMPONENTS = {
    "content": "what the toys are",
    "neighbours": "bought together here",
    "local": "this shop's own model",
    "popularity": "best sellers here",
    "shared": "learned together",
    "shared_popularity": "popular everywhere",
}


def read_quality(home: MerchantHome) -> dict[str, dict[str, Any]]:
    """The quality files of this merchant by study, newest first; unreadable ones are left out.

    Privacy: exact figures about this merchant's shoppers; they stay at the merchant.
    """
    found: dict[str, dict[str, Any]] = {}
    files = list((home.private / "quality").glob("*.json"))
    for file in sorted(files, key=lambda one: one.stat().st_mtime_ns, reverse=True):
        try:
            quality = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(quality, dict) and isinstance(quality.get("test"), dict):
            found[file.stem] = quality
    return found


def show_gains(home: MerchantHome) -> None:
    """Alone against together, and what the blend is made of."""
    found = read_quality(home)
    if not found:
        st.info(
            "**Nothing to compare yet.** When the first shared model arrives, this shop measures "
            "it on its own shoppers, against what it could do alone. The figures stay on this "
            "machine."
        )
        return
    study = st.selectbox("Study", list(found), key="quality-study")
    quality = found[study]
    alone, together = quality["test"].get("alone", {}), quality["test"].get("federated", {})
    st.caption(
        ":material/lock: Measured on the last purchase of "
        f"{quality.get('n', 0):,} shoppers of this shop; these figures stay here."
    )
    for column, (name, label) in zip(st.columns(len(FIGURES)), FIGURES, strict=True):
        before, after = alone.get(name), together.get(name)
        if before is None or after is None:
            column.metric(f"{label}, together", "not measured", border=True, height="stretch")
            continue
        if after == before:
            column.metric(
                f"{label}, together",
                f"{after:.4f}",
                "the same as alone",
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
            )
            continue
        gain = None if before == 0 else f"{after / before - 1:+.1%} against {before:.4f} alone"
        column.metric(f"{label}, together", f"{after:.4f}", gain, border=True, height="stretch")
    st.caption(
        "HR@10: how often the toy bought next is among the ten recommended. NDCG@10: the same, and "
        "more the higher it stands."
    )
    weights = quality.get("weights", {})
    if weights and not takes_up(weights):
        st.info(
            "**This shop's recommendations leave out what was shared.** Under the study's budget "
            "it did not help on this shop's own shoppers, so the shop serves what it knows by "
            "itself. More shoppers, or a larger epsilon, make the shared part clearer."
        )
    _weights(weights)


def takes_up(weights: dict[str, dict[str, float]]) -> bool:
    """Whether a blend gives any weight to what is not in the shop's blend alone."""
    together, alone = weights.get("federated", {}), weights.get("alone", {})
    return any(weight > 0 for name, weight in together.items() if name not in alone)


def _weights(weights: dict[str, dict[str, float]]) -> None:
    rows = [
        {"part": COMPONENTS.get(part, part.replace("_", " ")), "blend": blend, "weight": weight}
        for blend, parts in weights.items()
        for part, weight in parts.items()
    ]
    if not rows:
        return
    st.markdown("**What the recommendations are blended from**")
    names = {"alone": "alone", "federated": "together"}
    table = pd.DataFrame(rows).pivot(index="part", columns="blend", values="weight")
    table = table.rename(columns=names).fillna(0.0)
    st.dataframe(
        table.reset_index(),
        hide_index=True,
        column_config={
            name: st.column_config.ProgressColumn(
                name, min_value=0.0, max_value=max(1.0, float(table[name].max())), format="%.2f"
            )
            for name in table.columns
        },
    )
