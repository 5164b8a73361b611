"""Parts of the insights page: who gains, breadth, what privacy costs, the map of toys."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from recsys.data import read_catalogue
from recsys.errors import ToyFedError
from ui.web.charts import expected_chart, groups_chart, models_chart, toy_map_chart
from ui.web.manifest import Manifest
from ui.web.plain import plain, plain_error
from ui.web.report import Report
from ui.web.studies import expected_quality
from ui.web.toy_map import MOST_TOYS, shared_vectors, toy_map
from ui.web.views.insights.download import chart_and_downloads

__all__ = ["show_breadth", "show_curve", "show_groups", "show_toy_map"]


def show_groups(report: Report) -> None:
    """Light beside heavy shoppers, small beside large merchants."""
    if report.groups.empty:
        st.info("This report does not tell groups of shoppers apart: write it anew.")
        return
    for kind, table in report.groups.groupby("kind", sort=False):
        st.markdown(f"**By {plain(kind)}**")
        chart_and_downloads(groups_chart(table), table, f"gain by {kind}")
    st.caption(
        "What joining adds to NDCG@10, paired over shoppers, with 95 % intervals. A group whose "
        "line crosses zero may gain or lose by chance."
    )


def show_breadth(report: Report) -> None:
    """How many of the toys are ever shown, and how well known they are."""
    for metric, words in (
        ("coverage@10", "Share of all toys that somebody is shown among ten"),
        ("novelty@10", "Novelty: mean surprise of the ten toys shown, in bits"),
    ):
        rows = report.overall(metric)
        if rows.empty:
            continue
        st.markdown(f"**{words}**")
        chart_and_downloads(models_chart(rows, metric), rows, metric)


def show_curve() -> None:
    """Quality over epsilon, as the benchmark measured it on real toys."""
    curves = expected_quality()
    st.markdown("**What joining brought over ε, on real toys**")
    recipe = st.segmented_control(
        "Recipe",
        list(dict.fromkeys(curves["recipe"])),
        default="co-purchase",
        required=True,
        key="curve-recipe",
    )
    chart_and_downloads(expected_chart(curves, recipe, 1.0), curves, "privacy and quality")
    st.caption(
        "Amazon toys, 8 merchants, 19,412 shoppers, each merchant's own noise, δ 1e-5, test split; "
        "alone .0677, pooled without privacy .0908. The dashed line is ε 1."
    )


def show_toy_map(manifest: Manifest) -> None:
    """Toys by what was learned of them; searching lights some up."""
    where = _where(manifest)
    if where is None:
        st.info("**No shared model here yet.** The map appears when a study is finished.")
        return
    artefact, catalogue_file = where
    words = st.text_input("Search toys", placeholder="such as: train", key="map-words")
    try:
        table, says = _laid_out(
            str(artefact), str(catalogue_file), (artefact / "manifest.json").stat().st_mtime_ns
        )
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    wanted = words.lower().split()
    text = (table["title"] + " " + table["category"] + " " + table["brand"]).str.lower()
    table = table.assign(found=text.map(lambda one: all(word in one for word in wanted)))
    hits = int(table["found"].sum())
    st.caption(
        f"{says} "
        + (f"{hits:,} of {len(table):,} toys match." if wanted else f"{len(table):,} toys.")
        + (f" The {MOST_TOYS:,} bought most are drawn." if len(table) == MOST_TOYS else "")
    )
    chart_and_downloads(toy_map_chart(table), table.drop(columns="found"), "toy map")


@st.cache_data(max_entries=4, show_spinner="Laying out the toys …")
def _laid_out(artefact: str, catalogue_file: str, stamp: int) -> tuple[pd.DataFrame, str]:
    del stamp  # only there to lay out again when the model changes
    catalogue, _ = read_catalogue(Path(catalogue_file))
    vectors, items, says = shared_vectors(Path(artefact), catalogue)
    return toy_map(vectors, items, catalogue), says


def _where(manifest: Manifest) -> tuple[Path, Path] | None:
    """The newest artefact on this machine and the catalogue that it is about."""
    found = []
    if manifest.scientist is not None:
        catalogue = manifest.scientist / "catalogue.csv"
        for file in (manifest.scientist / "studies").glob("*/artefact/manifest.json"):
            found.append((file.stat().st_mtime_ns, file.parent, catalogue))
    for root in manifest.merchants:
        catalogue = root / "private" / "data" / "catalogue.parquet"
        for file in (root / "private" / "models").glob("*/manifest.json"):
            found.append((file.stat().st_mtime_ns, file.parent, catalogue))
    readable = [one for one in found if one[2].exists()]
    return max(readable)[1:] if readable else None
