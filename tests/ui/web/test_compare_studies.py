"""Studies side by side: where they differ, and how good they were as released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from datasites.study import ScientistHome, new_study, parse_study, submit
from datasites.study.quality import figures_of, noise_of, released_quality
from recsys.models.private_als import PrivateALSSettings, make_plan, quality_release
from recsys.privacy import Budget, SecureNoise
from tests.ui.web.market import texts
from tests.ui.web.test_study_page import CASTLE, Outbox, desk, paired
from ui.web.charts import released_chart
from ui.web.studies import released, study_facts
from ui.web.views.study.compare import settings_table

__all__ = ["desk", "paired"]

OpenPage = Callable[[str], AppTest]


def submitted(home: ScientistHome, name: str, epsilon: float, **model: Any) -> Path:
    settings = {
        "study": {"name": name, "merchants": [CASTLE]},
        "privacy": {"epsilon": epsilon},
        "model": {"rounds": 1, **model},
    }
    folder = new_study(home, parse_study(settings))
    submit(home, Outbox(), name)  # type: ignore[arg-type]
    return folder


def release(folder: Path, sums: list[float], shoppers: float) -> None:
    update = folder / "updates" / "quality"
    update.mkdir(parents=True)
    save_file(
        {"quality_sums": np.array(sums), "shopper_count": np.array([shoppers])},
        update / "castle_at_toyfed.local.safetensors",
    )


def test_one_study_is_not_compared(desk: ScientistHome, open_page: OpenPage) -> None:
    submitted(desk, "first", 1.0)
    assert "Nothing to compare yet" in texts(open_page("study"))


def test_two_studies_are_told_apart(desk: ScientistHome, open_page: OpenPage) -> None:
    release(submitted(desk, "first", 1.0), [50.0, 25.0, 60.0, 30.0], 500.0)
    release(submitted(desk, "second", 0.5, factors=8), [51.0, 26.0, 90.0, 45.0], 500.0)
    page = open_page("study")
    assert page.multiselect(key="compare").value == ["second", "first"]
    told = [one.value for one in page.dataframe]
    differs = next(one for one in told if "ε of each shopper" in one.index)
    assert differs.loc["ε of each shopper"].tolist() == ["0.5", "1"]
    assert differs.loc["[model] factors"].tolist()[0] == "8"
    assert "recipe" not in differs.index
    page.toggle(key="compare-all").set_value(True).run()
    everything = next(one.value for one in page.dataframe if "recipe" in one.value.index)
    assert everything.loc["recipe"].tolist() == ["private-als", "private-als"]
    page.multiselect(key="compare").set_value(["first"]).run()
    assert "Choose two or more" in texts(page)


def test_without_released_figures_it_says_so(desk: ScientistHome, open_page: OpenPage) -> None:
    for name in ("first", "second"):
        submitted(desk, name, 1.0)
    assert "None of them released figures" in texts(open_page("study"))


def test_a_setting_that_one_lacks_is_empty(desk: ScientistHome) -> None:
    for name, recipe in (("als", "private-als"), ("pairs", "co-purchase")):
        study = {"name": name, "recipe": recipe, "merchants": [CASTLE]}
        new_study(desk, parse_study({"study": study}))
        submit(desk, Outbox(), name)  # type: ignore[arg-type]
    table = settings_table([study_facts(desk, "als"), study_facts(desk, "pairs")])
    assert table.loc["[model] factors", "pairs"] == ""
    assert table.loc["[model] factors", "als"] != ""


def test_the_chart_has_a_row_for_each_figure(desk: ScientistHome) -> None:
    folder = submitted(desk, "first", 1.0)
    release(folder, [50.0, 25.0, 60.0, 30.0], 500.0)
    table = released(desk, "first")
    assert table["mean"].tolist() == pytest.approx([0.1, 0.05, 0.12, 0.06])
    assert (table["low"] < table["mean"]).all()
    chart = released_chart(table).to_dict()
    assert chart["layer"][0]["encoding"]["yOffset"]["field"] == "study"


def test_a_damaged_update_is_left_out(desk: ScientistHome) -> None:
    folder = submitted(desk, "first", 1.0)
    (folder / "updates" / "quality").mkdir(parents=True)
    (folder / "updates" / "quality" / "x.safetensors").write_bytes(b"no")
    assert released(desk, "first").empty
    (folder / "proposal.json").write_text("{")
    assert released(desk, "first").empty


def test_the_margin_holds_the_truth_in_19_of_20_runs(desk: ScientistHome) -> None:
    folder = submitted(desk, "first", 1.0)
    from datasites.protocol import Proposal

    proposal = Proposal.model_validate_json((folder / "proposal.json").read_bytes())
    assert released_quality(folder, proposal) == []
    chosen = {key: value for key, value in proposal.settings.items() if key != "release"}
    settings = PrivateALSSettings.from_dict(chosen)
    plan = make_plan(settings, Budget(proposal.epsilon, proposal.delta))
    chance = np.random.default_rng(0)
    each = chance.random((4000, 4)) * 0.3
    inside = []
    for _ in range(300):
        merchants = [
            np.append(*quality_release(half, settings, plan, SecureNoise())[:2])
            for half in (each[:1000], each[1000:])
        ]
        found = figures_of(merchants, noise_of(proposal))
        inside += [
            abs(one.mean - truth) <= one.margin
            for one, truth in zip(found, each.mean(axis=0), strict=True)
        ]
    assert 0.92 < np.mean(inside) < 0.975
