"""The report survives JSON, and its table says what it holds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from recsys.data import Interactions
from recsys.errors import DataError
from recsys.evaluation import Report, evaluate, measured
from recsys.models import Popularity
from tests.contracts.recommenders import N_ITEMS, toy_catalogue, toy_purchases


def small_report() -> Report:
    shop, targets = toy_purchases(30), toy_purchases(30, seed=8, longest=1)
    model = Popularity().fit(shop, toy_catalogue())
    nobody = Interactions.from_lists([[]] * 30, N_ITEMS)
    report = Report(settings={"seed": 3})
    with report.phase("evaluate"):
        found = {"a": evaluate(model, shop, targets), "b": evaluate(model, shop, nobody)}
    report.results["popularity"] = measured(found, np.random.default_rng(0))
    report.privacy["a"] = {"epsilon": 1.0, "delta": 1e-5, "events": 4}
    return report


def test_the_document_has_the_agreed_shape() -> None:
    document = json.loads(small_report().to_json())
    assert document.keys() == {"settings", "results", "privacy", "cost", "gain", "groups"}
    model = document["results"]["popularity"]
    assert model.keys() == {"overall", "ci", "merchants"}
    low, high = model["ci"]["ndcg@10"]
    assert low <= model["overall"]["ndcg@10"] <= high
    assert model["merchants"]["b"]["ndcg@10"] is None
    assert model["merchants"]["b"]["n"] == 0
    assert model["overall"]["n"] == model["merchants"]["a"]["n"] == 30
    wanted = {f"{m}@{k}" for m in ("hr", "ndcg", "recall", "mrr") for k in (5, 10, 20)}
    wanted |= {f"{m}@{k}" for m in ("coverage", "novelty") for k in (5, 10, 20)}
    assert wanted <= model["overall"].keys()
    assert document["cost"]["evaluate"]["peak_mb"] > 0


def test_a_report_read_back_is_the_same() -> None:
    text = small_report().to_json()
    again = Report.from_json(text)
    assert again.to_json() == text
    assert math.isnan(again.results["popularity"].merchants["b"]["hr@5"])


@pytest.mark.parametrize("text", ["", "[]", "3", '{"results": {}}', '{"results": {"x": 1}}'])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="Expected a report"):
        Report.from_json(text)


def test_the_table_shows_every_model() -> None:
    report = small_report()
    lines = report.table().splitlines()
    assert lines[0].split()[:3] == ["model", "hr@5", "ndcg@5"]
    shown = f"{report.results['popularity'].overall['hr@5']:.4f}"
    assert lines[1].split()[:2] == ["popularity", shown]
    assert Report().table().strip().startswith("model")
