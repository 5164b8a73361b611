"""The study desk: compose, see the cost, watch rounds, take the result home."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from datasites.errors import SandboxError
from datasites.study import ScientistHome, ScientistSettings, new_study, parse_study, submit
from datasites.study.journal import Progress, recorded
from recsys.data import Marketplace, write_catalogue
from tests.ui.web.market import texts
from tests.ui.web.test_plain import HOSTILE
from ui.web.charts import expected_chart, norms_chart
from ui.web.manifest import Manifest, write_manifest
from ui.web.studies import expected_quality, norms, releases, study_facts

OpenPage = Callable[[str], AppTest]
CASTLE = "castle@toyfed.local"


class Outbox:
    def submit(self, *_: Any) -> None: ...
    def sync(self) -> None: ...


@pytest.fixture
def desk(tmp_path: Path, manifest: Path, market: Marketplace) -> ScientistHome:
    made = ScientistHome.create(
        tmp_path / "ada", ScientistSettings(email="ada@science.test", share=str(tmp_path / "share"))
    )
    write_catalogue(made.catalogue, market.catalogue)
    write_manifest(manifest, Manifest(scientist=made.root))
    return made


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasites.study.home.paired_merchants", lambda _: [CASTLE])


def study(desk: ScientistHome, name: str = "toys") -> Path:
    settings = {"study": {"name": name, "merchants": [CASTLE]}, "model": {"rounds": 1}}
    return new_study(desk, parse_study(settings))


def test_without_a_desk_the_page_says_how_to_start(open_page: OpenPage) -> None:
    assert "toyfed study init" in texts(open_page("study"))


def test_a_new_desk_offers_a_first_study(desk: ScientistHome, open_page: OpenPage) -> None:
    told = texts(open_page("study"))
    assert "No studies yet" in told
    assert "ada@science.test" in told


def test_cost_and_noise_follow_what_is_typed(
    desk: ScientistHome, paired: None, open_page: OpenPage
) -> None:
    page = open_page("study")
    before = page.dataframe[-1].value
    assert before["phase"].iloc[0] == "counts"
    page.slider(key="new-epsilon").set_value(8.0).run()
    after = page.dataframe[-1].value
    assert (after["epsilon"] > before["epsilon"]).all()
    assert "at ε 8 joining added +0.0001 NDCG@10" in texts(page)
    page.selectbox(key="new-recipe").set_value("co-purchase").run()
    assert "pairs" in set(page.dataframe[-1].value["phase"])
    assert "at ε 8 joining added +0.0006" in texts(page)


def test_a_study_is_written_once_and_a_taken_name_is_refused(
    desk: ScientistHome, paired: None, open_page: OpenPage
) -> None:
    page = open_page("study")
    page.text_input(key="new-name").set_value("toys-2026").run()
    page.button(key="new-write").click().run()
    assert not page.exception
    assert desk.names() == ["toys-2026"]
    assert study_facts(desk, "toys-2026").merchants == (CASTLE,)
    page.button(key="new-write").click().run()
    assert "exists already" in texts(page)
    page.text_input(key="new-name").set_value("Toys!").run()
    assert "expected 1 to 48 lower-case letters" in texts(page)


def test_states_of_a_study(desk: ScientistHome) -> None:
    folder = study(desk)
    assert study_facts(desk, "toys").state == "draft"
    proposal = submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    assert study_facts(desk, "toys").state == "submitted"
    assert study_facts(desk, "toys").phases == tuple(phase.name for phase in proposal.phases)
    done = {"finished": ["counts"], "contributors": {"counts": [CASTLE]}, "dropped": {}}
    (folder / "checkpoint.json").write_text(json.dumps(done))
    assert study_facts(desk, "toys").state == "stopped"
    held = (
        "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print(1,flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(folder / "run.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        runner.stdout.readline()
        assert study_facts(desk, "toys").state == "running"
        runner.kill()
    (folder / "artefact").mkdir()
    (folder / "artefact" / "MODEL_CARD.md").write_text("# Model card: toys")
    assert study_facts(desk, "toys").state == "finished"
    (folder / "checkpoint.json").write_text("{")
    assert "damaged" in study_facts(desk, "toys").problem
    (folder / "study.toml").write_text("[")
    assert "TOML" in study_facts(desk, "toys").problem


def test_rounds_are_seen_as_they_go(desk: ScientistHome, open_page: OpenPage) -> None:
    folder = study(desk)
    submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    done = {
        "finished": ["counts"],
        "contributors": {"counts": []},
        "dropped": {"counts": {CASTLE: "[x](http://evil.test) `late`"}},
    }
    (folder / "checkpoint.json").write_text(json.dumps(done))
    list(recorded(folder, [Progress("dropped", "counts", CASTLE, "[x](http://evil.test) `late`")]))
    (folder / "updates" / "counts").mkdir(parents=True)
    save_file(
        {"item_counts": np.full(4, 3.0, np.float32)},
        folder / "updates" / "counts" / "castle_at_toyfed.local.safetensors",
    )
    (folder / "updates" / "counts" / "bad_at_toyfed.local.safetensors").write_bytes(b"junk")
    table = norms(desk, "toys")
    assert table.to_dict("records") == [
        {"phase": "counts", "merchant": CASTLE, "array": "item_counts", "norm": 6.0}
    ]
    page = open_page("study")
    told = texts(page)
    assert f"{CASTLE} left out: [x](http://evil.test) `late`" in told
    assert not any("[x](" in one.value for one in page.markdown)
    who = page.dataframe[1].value
    assert who.loc[CASTLE, "counts"] == "left out"
    assert page.button(key="run-toys").label == "Go on"


def test_a_finished_study_can_be_taken_home(desk: ScientistHome, open_page: OpenPage) -> None:
    folder = study(desk)
    submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    (folder / "artefact").mkdir()
    (folder / "artefact" / "MODEL_CARD.md").write_text("# Model card: toys\n\nnoised")
    (folder / "artefact" / "manifest.json").write_text("{}")
    page = open_page("study")
    assert "Model card: toys" in texts(page)
    labels = {button.proto.label for button in page.get("download_button")}
    assert labels == {"Model card", "Manifest", "Everything"}


def test_every_recipe_has_its_curve_and_a_plan(desk: ScientistHome) -> None:
    study(desk)
    proposal = submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    table = releases(proposal)
    assert (table["epsilon"] < 1).all()
    assert table["noise"].str.contains("sensitivity").all()
    curves = expected_quality()
    assert {"co-purchase", "neural", "private-als"} == set(curves["recipe"])
    assert (curves["low"] <= curves["gain"]).all()
    assert (curves["gain"] <= curves["high"]).all()
    assert expected_chart(curves, "neural", 1.0).to_dict()
    rows = [("als-10", 2.0), ("als-2", 1.0)]
    import pandas as pd

    chart = norms_chart(
        pd.DataFrame([{"phase": p, "merchant": "m", "array": "a", "norm": n} for p, n in rows])
    ).to_dict()
    assert chart["encoding"]["x"]["sort"] == ["als-2", "als-10"]


@pytest.mark.attack
def test_what_merchants_and_logs_say_is_no_markup(desk: ScientistHome, open_page: OpenPage) -> None:
    folder = study(desk)
    submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    (folder / "checkpoint.json").write_text(json.dumps({"finished": ["counts"]}))
    (folder / "run.log").write_text(f"started\n{HOSTILE}\n")
    list(recorded(folder, [Progress("dropped", "counts", HOSTILE, HOSTILE)]))
    page = open_page("study")
    told = [one.value for one in [*page.caption, *page.markdown] if "tracker" in one.value]
    assert len(told) == 2
    for text in told:
        for markup in ("![", "x](", "://", "**b", ":red[", " $x"):
            assert markup not in text
    assert texts(page).count(HOSTILE) == 3


def test_a_second_click_starts_no_run_and_keeps_the_log(
    desk: ScientistHome, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = study(desk)
    submit(desk, Outbox(), "toys")  # type: ignore[arg-type]
    (folder / "run.log").write_text("round 1 is under way\n")
    started: list[object] = []
    monkeypatch.setattr(
        "ui.web.views.study.actions.subprocess.Popen", lambda *a, **_: started.append(a)
    )
    page = open_page("study")
    run = page.button(key="run-toys")
    with monkeypatch.context() as running:
        running.setattr("datasites.study.journal.running_pid", lambda _: 1)
        _click = "from datasites.study.home import ScientistHome\n"
        _click += "from ui.web.views.study.actions import _run\nfrom pathlib import Path\n"
        _click += f"_run(ScientistHome.open(Path({str(desk.root)!r})), 'toys')\n"
        assert not AppTest.from_string(_click).run().exception
    assert not started
    run.click().run()
    assert len(started) == 1
    assert (folder / "run.log").read_text() == "round 1 is under way\n"


def tried(page: AppTest) -> AppTest:
    """Look again until the try has ended, as the page itself does."""
    page.button(key="try-toys").click().run()
    deadline = time.monotonic() + 60
    while "Trying it on mock purchases" in texts(page):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        page.run()
    return page


def test_a_draft_is_tried_on_mock_purchases(desk: ScientistHome, open_page: OpenPage) -> None:
    study(desk)
    page = tried(open_page("study"))
    assert not page.exception
    assert not page.error, page.error[0].value
    table = next(one.value for one in page.dataframe if "peak MB" in one.value.columns)
    assert table["phase"].tolist() == ["counts", "als-1", "quality"]
    assert study_facts(desk, "toys").state == "draft"
    assert "Nothing was sent" in texts(page)
    assert "Nothing was sent" in texts(open_page("study"))


def test_what_goes_wrong_on_mock_purchases_is_told(
    desk: ScientistHome, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise SandboxError("the code ended with an error")

    study(desk)
    monkeypatch.setattr("datasites.study.rehearsal.rehearse", broken)
    assert "the code ended with an error" in tried(open_page("study")).error[0].value
