from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.heartbeat import service_state
from datasites.protocol import Proposal
from recsys.privacy import GaussianEvent, SubsampledGaussianEvent, spent
from tests.ui.web.market import BARE, SHOP, STUDY, texts
from ui.web.manifest import Manifest, write_manifest
from ui.web.plain import plain
from ui.web.views.gains import read_quality
from ui.web.views.ledger import ledger_table
from ui.web.views.request import release_table

OpenPage = Callable[[str], AppTest]
Ask = Callable[..., Proposal]


def ledger_of(home: MerchantHome) -> Ledger:
    return Ledger.open(home.ledger_path)


def form(kind: str, home: MerchantHome) -> AppTest:
    """What a dialog holds; the browser's test opens it by its button."""
    script = f"""
from pathlib import Path
from datasites.merchant import Ledger, MerchantHome, desk
from ui.web.views import decision
home = MerchantHome.open(Path({str(home.root)!r}))
ledger = Ledger.open(home.ledger_path)
review = desk.review(home, ledger, {STUDY!r})
decision.{kind}_form(home, ledger, review if {kind!r} == "approve" else {STUDY!r})
"""
    return AppTest.from_string(script, default_timeout=30).run()


def test_before_anything_happened(open_page: OpenPage) -> None:
    told = texts(open_page("merchant"))
    assert "A simulation: all merchants live on this one machine" in told
    assert "Service never started" in told
    assert "left: <b>ε 1</b> (100%)" in told
    assert "No requests yet" in told
    assert "Nothing to compare yet" in told


def test_in_earnest_nothing_is_called_a_simulation(
    manifest: Path, homes: dict[str, MerchantHome], open_page: OpenPage
) -> None:
    write_manifest(manifest, Manifest(merchants=(homes[SHOP].root,)))
    told = texts(open_page("merchant"))
    assert "simulation" not in told
    assert "only you may see" in told


def test_review_shows_badge_code_release_and_cost(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    proposal = ask(homes[SHOP])
    page = open_page("merchant")
    told = texts(page)
    assert "Byte-identical to a recipe of this release" in told
    assert "Costs ε 0.5" in told
    assert "Together ε 0.5 of 1" in told
    assert "every byte is that of the recipe" in told
    code = [block for block in page.code if "Private ALS" in block.value]
    assert code[0].language == "python"
    released = next(table.value for table in page.dataframe if "releases" in table.value)
    assert list(released["run"]) == [phase.name for phase in proposal.phases]
    assert "item_counts [60]" in released["releases"].iloc[0]


def test_a_request_whose_files_are_damaged_is_named(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP])
    (file,) = homes[SHOP].private.glob(f"**/{STUDY}/request.json")
    file.write_text("{")
    page = open_page("merchant")
    assert not page.exception
    assert any(STUDY in warning.value for warning in page.warning)


def test_approve_after_a_second_look(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP])
    open_page("merchant").button(key=f"approve-{STUDY}").click().run()
    assert ledger_of(homes[SHOP]).approval(STUDY) is None  # only asked so far
    asked = form("approve", homes[SHOP])
    asked.number_input[0].set_value(7)
    asked.button(key="approve-now").click().run()
    approval = ledger_of(homes[SHOP]).approval(STUDY)
    assert approval is not None
    expires = datetime.fromisoformat(approval.expires)
    assert timedelta(days=6) < expires - datetime.now(UTC) <= timedelta(days=7)
    assert STUDY in asked.session_state["told"]
    page = open_page("merchant")
    assert "promised: <b>ε 0.5</b>" in texts(page)
    assert page.button(key=f"revoke-{STUDY}")


def test_foreign_code_needs_a_reader(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP], change="\nimport socket\n")
    page = open_page("merchant")
    told = texts(page)
    assert "Not a recipe of this release" in told
    assert any("+import socket" in block.value for block in page.code)
    findings = next(table.value for table in page.dataframe if "attention" in table.value)
    assert "danger" in list(findings["attention"])
    asked = form("approve", homes[SHOP])
    assert asked.button(key="approve-now").disabled
    asked.checkbox(key="has-read").check().run()
    asked.button(key="approve-now").click().run()
    assert ledger_of(homes[SHOP]).approval(STUDY) is not None


def test_more_than_the_budget_cannot_be_approved(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP], epsilon=3.0)
    page = open_page("merchant")
    assert "above its budget" in texts(page)
    assert page.button(key=f"approve-{STUDY}").disabled


def test_reject_with_a_reason(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP])
    asked = form("reject", homes[SHOP])
    asked.text_input(key="reason").set_value("not this year").run()
    asked.button(key="reject-now").click().run()
    assert "rejected: not this year" in texts(open_page("merchant"))
    assert [one.state for one in ledger_of(homes[SHOP]).requests()] == ["rejected"]


def test_revoke(homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage) -> None:
    ask(homes[SHOP])
    form("approve", homes[SHOP]).button(key="approve-now").click().run()
    form("revoke", homes[SHOP]).button(key="revoke-now").click().run()
    assert ledger_of(homes[SHOP]).approval(STUDY) is None
    assert (
        f"**{STUDY}** from {plain('lab@toyfed.local')} · revoked"
        in open_page("merchant").expander[0].label
    )


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_what_was_decided_elsewhere_meanwhile_is_refused_readably(
    homes: dict[str, MerchantHome], ask: Ask, kind: str
) -> None:
    ask(homes[SHOP])
    asked = form(kind, homes[SHOP])
    ledger_of(homes[SHOP]).reject(f"{STUDY}-proposal", "by telephone", "somebody else")
    asked.button(key=f"{kind}-now").click().run()
    assert not asked.exception
    assert asked.error
    assert [one.state for one in ledger_of(homes[SHOP]).requests()] == ["rejected"]


def test_a_changed_ledger_stops_everything(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP])
    with sqlite3.connect(homes[SHOP].ledger_path) as database:
        table, column = _text_column(database)
        database.execute(f"DROP TRIGGER IF EXISTS {table}_immutable")
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute(f"UPDATE {table} SET {column} = replace({column}, 'lab@', 'bad@')")
    page = open_page("merchant")
    assert "Ledger does not verify" in texts(page)
    assert not [button for button in page.button if str(button.key).startswith("approve")]


def _text_column(database: sqlite3.Connection) -> tuple[str, str]:
    """Where the ledger keeps its records."""
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for _, column, *_rest in database.execute(f"PRAGMA table_info({table})").fetchall():
            if column == "record":
                return table, column
    raise AssertionError("the ledger has no table of records")


def test_the_ledger_as_a_table(homes: dict[str, MerchantHome], ask: Ask) -> None:
    proposal = ask(homes[SHOP])
    ledger = ledger_of(homes[SHOP])
    from datasites.merchant import desk

    desk.approve(homes[SHOP], ledger, STUDY, by="owner")
    phase = proposal.phases[0]
    ledger.reserve(STUDY, "job-1", phase.name, phase.privacy_events())
    ledger.note("refused", {"reason": "late"})
    table = ledger_table(ledger.entries(), 1e-5)
    assert list(table["what"]) == [
        "refused (note)",
        "reserved",
        "approved",
        "requested",
        "created",
    ]
    assert table["cost"].iloc[1].startswith("ε 0.")
    assert set(table["cost"].drop(index=1)) == {""}


def test_steps_of_dp_sgd_are_shown_with_their_noise_and_share(
    homes: dict[str, MerchantHome], ask: Ask
) -> None:
    from datasites.merchant import desk

    proposal = ask(homes[SHOP])
    first = proposal.phases[0]
    steps = SubsampledGaussianEvent("towers", 1.5, 0.01, 300)
    phases = tuple(
        first.model_copy(update={"name": f"towers-{n}", "events": (steps.to_dict(),)})
        for n in (1, 2)
    )
    (request,) = desk.requests(homes[SHOP], ledger_of(homes[SHOP]))
    mixed = proposal.model_copy(update={"phases": (first, *phases)})
    table = release_table(replace(request, proposal=mixed))
    assert list(table["run"]) == [first.name, "towers-1", "towers-2"]
    assert "sigma 1.5 times the clipping bound" in table["noise"].iloc[1]
    assert "300 steps, 1% of shoppers" in table["noise"].iloc[1]
    assert table["noise"].iloc[0].startswith("sigma ")
    shares = [int(share.rstrip("%")) for share in table["share of the cost"]]
    assert shares[1] == shares[2] > 0 < shares[0]
    assert 98 <= sum(shares) <= 102


def test_a_budget_partly_spent_on_dp_sgd(
    homes: dict[str, MerchantHome], open_page: OpenPage
) -> None:
    ledger = ledger_of(homes[SHOP])
    events = [
        SubsampledGaussianEvent("towers", 1.8, 0.01, 500),
        GaussianEvent("counts", 1.0, 12.0),
    ]
    code, words = "c" * 64, "d" * 64
    ledger.request("r", STUDY, "lab@toyfed.local", code, words, {})
    ledger.approve(
        "r",
        study=STUDY,
        sender="lab@toyfed.local",
        code_sha256=code,
        params_sha256=words,
        events=events,
        rounds=2,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="owner",
    )
    ledger.reserve(STUDY, "job-1", "towers-1", events[:1])
    told = texts(open_page("merchant"))
    shares = {
        name: int(share)
        for name, share in re.findall(r"(spent|promised|left): <b>ε [\d.]+</b> \((\d+)%\)", told)
    }
    assert set(shares) == {"spent", "promised", "left"}
    assert min(shares.values()) > 0
    assert 99 <= sum(shares.values()) <= 101
    assert f"spent: <b>ε {spent(events[:1], 1e-5):.3g}</b>" in told
    cost = ledger_table(ledger.entries(), 1e-5)["cost"].iloc[0]
    assert cost == f"ε {spent(events[:1], 1e-5):.3f}"


def test_each_merchant_sees_its_own_books(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    ask(homes[SHOP])
    page = open_page("merchant")
    page.selectbox(key="at").set_value(BARE).run()
    assert page.title[0].value == BARE
    assert "No requests yet" in texts(page)
    assert "No purchases yet" in texts(page)


def test_what_joining_brought(homes: dict[str, MerchantHome], open_page: OpenPage) -> None:
    folder = homes[SHOP].private / "quality"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    (folder / f"{STUDY}.json").write_text(
        json.dumps(
            {
                "n": 40,
                "test": {
                    "alone": {"ndcg@10": 0.08, "hr@10": None},
                    "federated": {"ndcg@10": 0.1, "hr@10": 0.2},
                },
                "weights": {
                    "alone": {"content": 1.0},
                    "federated": {"content": 0.5, "shared": 0.5},
                },
            }
        )
    )
    assert list(read_quality(homes[SHOP])) == [STUDY]
    page = open_page("merchant")
    told = texts(page)
    assert "NDCG@10, together 0.1000 +25.0% against 0.0800 alone" in told
    assert "HR@10, together not measured" in told
    weights = next(table.value for table in page.dataframe if "together" in table.value)
    assert dict(zip(weights["part"], weights["alone"], strict=True)) == {
        "what the toys are": 1.0,
        "learned together": 0.0,
    }


@pytest.mark.parametrize(
    ("beat", "busy", "text", "how"),
    [
        ({"state": "running"}, False, "is running", "well"),
        ({"state": "running", "age": 3600}, False, "is silent", "odd"),
        ({"state": "running", "age": 3600}, True, "running approved code", "well"),
        ({"state": "troubled", "detail": "no share"}, False, "has trouble", "odd"),
        ({"state": "stopped"}, False, "stopped", "off"),
        ({"state": "running", "dead": True}, False, "ended unexpectedly", "bad"),
        ({"state": "running", "at": "2026-01-01"}, False, "state not readable", "odd"),
        ({}, False, "state not readable", "odd"),
    ],
)
def test_heartbeats(
    homes: dict[str, MerchantHome],
    beat: dict[str, object],
    busy: bool,
    text: str,
    how: str,
) -> None:
    pid = os.getpid()
    if beat.pop("dead", False):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        pid = ended.pid
    at = datetime.now(UTC) - timedelta(seconds=int(str(beat.pop("age", 0))))
    facts = {"pid": pid, "at": at.isoformat(), "detail": "", **beat}
    homes[SHOP].heartbeat.write_text(json.dumps(facts if beat else "nonsense"))
    state = service_state(homes[SHOP], busy)
    assert (state.text, state.how) == (text, how)


def test_a_long_queue_comes_in_pages_with_what_waits_first(
    homes: dict[str, MerchantHome], ask: Ask, open_page: OpenPage
) -> None:
    from ui.web.views.queue import PER_PAGE

    names = [f"study-{number}" for number in range(PER_PAGE + 2)]
    for name in names:
        ask(homes[SHOP], study=name, epsilon=0.01)
    ledger = ledger_of(homes[SHOP])
    for name in names[:-1]:
        ledger.reject(f"{name}-proposal", "no", "me")
    page = open_page("merchant")
    shown = [one.label for one in page.expander if "study-" in one.label]
    assert len(shown) == PER_PAGE
    assert names[-1] in shown[0]
    assert "1 pending, 9 rejected" in texts(page)
    page.text_input(key="queue-words").set_value("study-3").run()
    assert ["study-3" in one.label for one in page.expander if "study-" in one.label] == [True]
    page.text_input(key="queue-words").set_value("no-such-study").run()
    assert "No request with these words" in texts(page)
