"""The main job, end to end, and what must not happen on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.errors import BudgetError
from datasites.merchant import Ledger, desk
from datasites.protocol import Round
from datasites.recipes import keeps_releases
from datasites.simulation import Story
from datasites.study import Coordinator, new_study, parse_study, submit

pytestmark = pytest.mark.e2e
OpenStory = Callable[..., Story]


def _finish(story: Story) -> list[str]:
    return [f"{event.what} {event.merchant}" for event in story.run_study()]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_marketplace_learns_and_serves(open_story: OpenStory) -> None:
    story = open_story()
    story.submit_study()
    story.approve_study()
    happened = _finish(story)
    for home in story.merchants.values():
        assert f"delivered {home.settings.email}" in happened
        ledger = Ledger.open(home.ledger_path)
        ledger.verify()
        assert 0.99 * 8 < ledger.spent().epsilon <= 8 * (1 + 1e-9)
        assert not ledger.open_reservations()

    from datasites.simulation.report import build_report
    from recsys.evaluation import Report

    measured = Report()
    build_report(story, measured)
    report = json.loads(measured.to_json())
    wanted = {"popularity", "content", "local", "alone", "shared", "federated", "pooled"}
    assert wanted <= report["results"].keys()
    for figures in report["results"].values():
        assert figures["overall"]["n"] > 300
        assert 0 <= figures["overall"]["ndcg@10"] <= figures["overall"]["hr@10"] <= 1
        assert figures["merchants"].keys() == story.merchants.keys()
    assert all(0 < one["epsilon"] <= 8 * (1 + 1e-9) for one in report["privacy"].values())

    card = (story.scientist.study("toys") / "artefact" / "MODEL_CARD.md").read_text()
    assert "epsilon" in card
    _nothing_private_in_the_share(story)


@pytest.mark.parametrize(("recipe", "rounds"), [("co-purchase", None), ("neural", 1)])
def test_the_other_recipes_learn_and_serve(
    open_story: OpenStory, recipe: str, rounds: int | None
) -> None:
    from datasites.merchant.fit import own_releases
    from datasites.merchant.serving import open_shop

    story = open_story(recipe=recipe, rounds=rounds)
    story.submit_study()
    story.approve_study()
    happened = _finish(story)
    for home in story.merchants.values():
        assert f"delivered {home.settings.email}" in happened
        ledger = Ledger.open(home.ledger_path)
        ledger.verify()
        assert 0.99 * 8 < ledger.spent().epsilon <= 8 * (1 + 1e-9)
        quality = json.loads((home.private / "quality" / "toys.json").read_text())
        assert quality["test"]["shared"]["ndcg@10"] > 0
        if keeps_releases(recipe):
            phases = Coordinator(story.scientist, story.link, "toys").proposal.phases
            assert own_releases(home, "toys").keys() == {phase.name for phase in phases}
        shop = open_shop(home)
        assert len(shop.recommend(shop.history(shop.shopper_ids[0]), 5)) == 5
    _nothing_private_in_the_share(story)


def _nothing_private_in_the_share(story: Story) -> None:
    shopper_ids = [
        identity for shop in story.marketplace.shops.values() for identity in shop.all.shopper_ids
    ]
    # Short numbers occur by chance in any ciphertext; longer ids do not.
    telling = [str(identity).encode() for identity in shopper_ids if len(str(identity)) >= 6]
    assert telling, "the marketplace needs shopper ids that are long enough to search for"
    found = _files(story.share)
    assert len(found) > 10
    private_names = {"shop.parquet", "purchases", "ledger.sqlite", "crypto_keys.json"}
    for path in found:
        contents = path.read_bytes()
        assert not any(name in str(path.relative_to(story.share)) for name in private_names)
        assert not any(name.encode() in contents for name in private_names)
        assert not any(identity in contents for identity in telling)


def test_kill_9_in_the_middle_of_a_round(open_story: OpenStory) -> None:
    story = open_story()
    story.submit_study()
    story.approve_study()
    victim = next(iter(story.merchants.values()))
    ledger = Ledger.open(victim.ledger_path)
    killed = False
    for event in story.run_study():
        if event.what == "phase" and event.phase == "als-1" and not killed:
            deadline = time.monotonic() + 60
            while not ledger.open_reservations():
                assert time.monotonic() < deadline, "the round never started"
                time.sleep(0.01)
            story.services.kill(victim)
            killed = True
            story.services.start(victim)
    assert killed
    ledger.verify()
    entries = ledger.entries()
    runs = [entry.body["job"] for entry in entries if entry.kind == "reserved"]
    assert len(runs) == len(set(runs)), "a job ran twice"
    assert "toys-als-1" in runs
    assert ledger.state_of("toys-als-1") == "failed"
    assert ledger.spent().epsilon <= 8 * (1 + 1e-9)
    # The interrupted run stays spent: the ledger books as much as merchants that were not hurt.
    other = Ledger.open(list(story.merchants.values())[1].ledger_path)
    assert ledger.spent().epsilon == pytest.approx(other.spent().epsilon)
    done = Coordinator(story.scientist, story.link, "toys").checkpoint()
    assert done["finished"][-1] == "quality"
    assert len(done["contributors"]["als-1"]) == 2
    assert len(done["contributors"]["als-2"]) == 3
    assert (victim.models / "toys" / "manifest.json").exists()


def test_a_study_beyond_the_budget_is_refused_before_anything_runs(open_story: OpenStory) -> None:
    story = open_story(epsilon=1.0)
    settings = parse_study(
        {
            "study": {
                "name": "greedy",
                "merchants": [home.settings.email for home in story.merchants.values()],
            },
            "privacy": {"epsilon": 1.5, "delta": 1e-5},
        }
    )
    new_study(story.scientist, settings)
    submit(story.scientist, story.link, "greedy")
    home = next(iter(story.merchants.values()))
    ledger = Ledger.open(home.ledger_path)
    _until(lambda: any(one.study == "greedy" for one in desk.requests(home, ledger)))
    with pytest.raises(BudgetError, match="above its budget"):
        desk.approve(home, ledger, "greedy", by="test")
    assert ledger.spent().epsilon == 0
    assert not any(entry.kind in ("approved", "reserved") for entry in ledger.entries())
    assert list(home.runs.iterdir()) == []


def test_code_that_differs_by_one_byte_is_not_run(open_story: OpenStory) -> None:
    story = open_story()
    story.submit_study()
    story.approve_study()
    home = next(iter(story.merchants.values()))
    folder = story.scientist.study("toys")
    changed = (folder / "code" / "main.py").read_bytes() + b"\n"
    proposal = Coordinator(story.scientist, story.link, "toys").proposal
    order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
    story.link.submit(
        home.settings.email, "toys-counts", {"main.py": changed}, order.model_dump(mode="json")
    )
    reply = _answer(story, home.settings.email, "toys-counts")
    assert reply.status == "refused"
    assert "not the approved one" in reply.message
    ledger = Ledger.open(home.ledger_path)
    assert not any(entry.kind == "reserved" for entry in ledger.entries())
    assert any(
        entry.kind == "refused" and "not the approved" in entry.body["reason"]
        for entry in ledger.entries()
    )


def _answer(story: Story, merchant: str, job: str):  # type: ignore[no-untyped-def]
    def answered() -> bool:
        story.link.sync()
        return story.link.reply(merchant, job).status != "waiting"

    _until(answered)
    return story.link.reply(merchant, job)


def _until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
