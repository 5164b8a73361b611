from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from datasites.errors import SettingsError
from datasites.merchant import MerchantHome
from datasites.merchant.store import load_catalogue
from recsys.artifact import SharedModel, save_model
from tests.ui.web.market import BARE, SHOP, join, texts
from ui.web.charts import groups_chart, merchants_chart, models_chart
from ui.web.manifest import Manifest, write_manifest
from ui.web.report import ALL, read_report
from ui.web.toy_map import shared_vectors, toy_map
from ui.web.views.insights.download import _picture

OpenPage = Callable[[str], AppTest]


def test_no_report_explains_why(open_page: OpenPage) -> None:
    assert "which only a simulation may do" in texts(open_page("insights"))


def test_figures_gains_privacy_and_cost(manifest: Path, report: Path, open_page: OpenPage) -> None:
    write_manifest(manifest, Manifest(report=report, simulation=True))
    page = open_page("insights")
    told = texts(page)
    assert "only because this is a simulation" in told
    assert "NDCG@10, together 0.0900 +12.5% against alone" in told
    assert "Merchants not worse off 1 of 2" in told
    assert "Privacy of every shopper ε 0.9" in told
    assert "Joining adds +0.0100 NDCG@10** (95 %: +0.0040 to +0.0160), paired over 99" in told
    # Two of quality, merchants, two kinds of groups, privacy, its curve, cost.
    assert len(page.get("vega_lite_chart")) == 8
    labels = {button.proto.label for button in page.get("download_button")}
    assert labels == {"JSON", "CSV", "PNG"}


def test_a_report_that_is_not_of_a_simulation_claims_nothing(
    manifest: Path, report: Path, open_page: OpenPage
) -> None:
    write_manifest(manifest, Manifest(report=report))
    assert "simulation" not in texts(open_page("insights"))


def test_a_new_report_is_read_again(manifest: Path, report: Path, open_page: OpenPage) -> None:
    write_manifest(manifest, Manifest(report=report))
    assert "0.0900" in texts(open_page("insights"))
    values = json.loads(report.read_text())
    values["results"]["federated"]["overall"]["ndcg@10"] = 0.12345
    report.write_text(json.dumps(values))
    assert "0.1235" in texts(open_page("insights")) or "0.1234" in texts(open_page("insights"))


def test_tables_of_a_report(report: Path) -> None:
    found = read_report(report)
    assert found.metrics() == ["ndcg@10", "hr@10"]
    assert list(found.overall("ndcg@10")["model"]) == ["alone", "federated"]
    assert found.overall("ndcg@10")["low"].iloc[0] == pytest.approx(0.07)
    assert found.overall("hr@10")["low"].isna().all()
    gains = found.of_merchants("ndcg@10", ("alone", "federated")).set_index("merchant")
    assert gains.loc[SHOP].to_dict() == {"alone": 0.10, "federated": 0.13}
    assert found.of_merchants("ndcg@10", ("alone", "pooled")).empty
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert {row["merchant"] for row in rows} == {ALL, SHOP, BARE}
    assert len(rows) == 12


def test_charts_hold_the_figures(report: Path) -> None:
    found = read_report(report)
    bars = models_chart(found.overall("ndcg@10"), "NDCG@10").to_dict()
    assert len(bars["layer"]) == 2  # bars and intervals
    assert "layer" not in models_chart(found.overall("hr@10"), "HR@10").to_dict()
    gains = found.of_merchants("hr@10", ("alone", "federated"))
    spec = json.dumps(merchants_chart(gains, "HR@10").to_dict())
    assert f'"sort": ["{SHOP}", "{BARE}"]' in spec  # the greatest gain first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": {"alone": 3}}', "\x00"])
def test_damaged_reports_are_refused_readably(
    tmp_path: Path, manifest: Path, open_page: OpenPage, text: str
) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="is not a report"):
        read_report(file)
    write_manifest(manifest, Manifest(report=file))
    assert "is not a report" in texts(open_page("insights"))


def test_light_and_heavy_shoppers_are_told_apart(report: Path) -> None:
    table = read_report(report).groups
    assert list(table.columns) == ["kind", "group", "alone", "together", "gain", "low", "high", "n"]
    assert list(table["group"]) == ["1 to 3", "4 or more", "small", "large"]
    drawn = groups_chart(table[table["kind"] == "purchases of a shopper"]).to_dict()
    assert "1 to 3" in json.dumps(drawn)


def test_a_picture_can_be_taken_along(report: Path) -> None:
    table = read_report(report).groups
    assert _picture(groups_chart(table)).startswith(b"\x89PNG")


def test_the_map_of_toys(
    manifest: Path, homes: dict[str, MerchantHome], open_page: OpenPage
) -> None:
    assert "No shared model here yet" in texts(open_page("insights"))
    home = homes[SHOP]
    join(home)
    write_manifest(manifest, Manifest(merchants=(home.root,)))
    page = open_page("insights")
    told = texts(page)
    assert "bought by the same shoppers" in told
    assert "60 toys" in told
    page.text_input(key="map-words").set_value("no such toy").run()
    assert "0 of 60 toys match" in texts(page)


def test_a_map_of_few_toys_and_of_a_model_without_embeddings(
    homes: dict[str, MerchantHome], tmp_path: Path
) -> None:
    catalogue = load_catalogue(homes[SHOP])
    save_model(
        tmp_path / "model",
        SharedModel(
            recipe="co-purchase",
            settings={},
            catalogue_digest=catalogue.digest,
            epsilon={},
            delta=1e-5,
            events={},
            arrays={"item_counts": np.ones(catalogue.n_items, np.float32)},
        ),
    )
    vectors, items, says = shared_vectors(tmp_path / "model", catalogue)
    assert "learns no embeddings" in says
    assert vectors.shape[0] == items.size == catalogue.n_items
    for n in (1, 2, 5):
        table = toy_map(vectors[:n], items[:n], catalogue)
        assert len(table) == n
        assert np.isfinite(table[["x", "y"]]).all().all()
    assert set(toy_map(np.zeros_like(vectors), items, catalogue)["title"]) == set(
        catalogue.frame["title"]
    )
