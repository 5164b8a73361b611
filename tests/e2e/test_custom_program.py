"""A data scientist's own program, from `study new --custom` to being served by real datasites."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from datasites.merchant import Ledger, desk
from datasites.merchant.serving import open_shop
from datasites.simulation import Story
from datasites.study import submit

pytestmark = pytest.mark.e2e


def test_a_program_of_ones_own_learns_and_serves(open_story: Callable[..., Story]) -> None:
    from ui.cli.app import app

    story = open_story(recipe="custom", rounds=None)
    named = [word for home in story.merchants.values() for word in ("-m", home.settings.email)]
    home = ["--home", str(story.scientist.root)]
    run = CliRunner().invoke(
        app, ["study", "new", "toys", "--custom", *named, "--epsilon", "8", *home]
    )
    assert run.exit_code == 0, run.output
    main = story.scientist.study("toys") / "code" / "main.py"
    main.write_text(main.read_text() + "\n# changed: no longer the example\n")
    tried = CliRunner().invoke(app, ["study", "try", "toys", "--shoppers", "20", "--json", *home])
    assert tried.exit_code == 0, tried.output
    assert [(one["rows"], one["failed"]) for one in json.loads(tried.stdout)] == [(20, 0)] * 2

    submit(story.scientist, story.link, "toys")
    for merchant in story.merchants.values():
        ledger = Ledger.open(merchant.ledger_path)
        deadline = time.monotonic() + 120
        while not desk.requests(merchant, ledger):
            assert time.monotonic() < deadline, "the request never arrived"
            time.sleep(0.2)
        review = desk.review(merchant, ledger, "toys")
        assert (review.shipped, review.noised_here, review.problems) == (False, True, [])
        desk.approve(merchant, ledger, "toys", by="test", read_foreign_code=True)

    from datasites.study import Coordinator

    coordinator = Coordinator(story.scientist, story.link, "toys")
    deadline = time.monotonic() + 120
    while any(status != "done" for status, _ in coordinator.answers().values()):
        assert time.monotonic() < deadline, "an approval never came back"
        time.sleep(0.2)
    happened = [f"{event.what} {event.merchant}" for event in story.run_study()]
    for merchant in story.merchants.values():
        assert f"delivered {merchant.settings.email}" in happened
        ledger = Ledger.open(merchant.ledger_path)
        ledger.verify()
        assert 0.99 * 8 < ledger.spent().epsilon <= 8 * (1 + 1e-9)
        quality = json.loads((merchant.private / "quality" / "toys.json").read_text())
        assert quality["test"]["shared"]["ndcg@10"] > 0
        shop = open_shop(merchant)
        assert len(shop.recommend(shop.history(shop.shopper_ids[0]), 5)) == 5
