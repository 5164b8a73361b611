"""Every kind of entry as a sentence that a shop owner understands."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.merchant import Ledger
from datasites.merchant.ledger import verify_export
from recsys.privacy import Budget, GaussianEvent
from ui.ledger_words import cost_of, in_words, when

CODE = "c" * 64


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "ledger.db", Budget(1.0, 1e-5))


def ask(ledger: Ledger, study: str, events: list[GaussianEvent]) -> None:
    ledger.request(study, study, "dana@lab.example", CODE, CODE, {})
    ledger.approve(
        study,
        study=study,
        sender="dana@lab.example",
        code_sha256=CODE,
        params_sha256=CODE,
        events=events,
        rounds=len(events),
        expires=datetime.now(UTC) + timedelta(days=1),
        by="kim",
    )


def test_the_life_of_a_study(ledger: Ledger) -> None:
    event = GaussianEvent("sums", 1.0, 20.0)
    ask(ledger, "toys", [event, event])
    ledger.reserve("toys", "toys-one", "one", [event])
    ledger.commit("toys-one", {"arrays": {"sums": [3, 2]}, "sha256": CODE, "bytes": 1234})
    ledger.reserve("toys", "toys-two", "two", [event])
    ledger.fail("toys-two", "it took too long")
    ask(ledger, "more", [event])
    ledger.revoke("more", "kim")
    ledger.note("witness missing", {"place": "the share", "problem": "lost what it remembered"})
    ledger.note("an odd one", {"sha256": CODE, "by": "kim"})
    entries = ledger.entries()
    told = [in_words(entry) for entry in entries]
    assert told[0] == "a budget of epsilon 1 at delta 1e-05, for good"
    assert told[1] == "asked by dana@lab.example"
    assert told[2].startswith("2 runs until 20")
    assert told[3] == "phase one may run once; its cost is spent"
    assert told[4] == "toys-one: sums [3 x 2] may leave, 1,234 bytes"
    assert told[6] == "toys-two ended without a release: it took too long"
    assert told[9] == "by kim; nothing of it runs or leaves any more"
    assert told[10] == "the share lost what it remembered"
    assert told[11] == "by kim, sha256 cccccccccc…"
    assert not any(re.search("[0-9a-f]{64}", text) for text in told)
    costs = [cost_of(entry, 1e-5) for entry in entries]
    assert [cost is not None for cost in costs] == [entry.kind == "reserved" for entry in entries]
    assert when(entries[0].at) == entries[0].at[:16].replace("T", " ")


def test_costs_of_earlier_datasites_are_told(ledger: Ledger, tmp_path: Path) -> None:
    ledger.export(tmp_path / "export.jsonl")
    later = Ledger.create(
        tmp_path / "later.db",
        Budget(2.0, 1e-5),
        period_days=365,
        earlier=[verify_export(tmp_path / "export.jsonl")],
    )
    assert in_words(later.entries()[0]) == (
        "a budget of epsilon 2 at delta 1e-05, per 365 days; what 1 earlier datasite cost counts"
    )


def test_a_note_that_is_not_as_expected_is_told_plainly(ledger: Ledger) -> None:
    ledger.note("peer-approved", {"odd": "x" * 500})
    text = in_words(ledger.entries()[-1])
    assert text.startswith("odd xxx")
    assert len(text) <= 160
