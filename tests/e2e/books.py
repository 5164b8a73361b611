"""What must hold at every merchant after a study, whatever happened on the way."""

from __future__ import annotations

from datasites.merchant import Ledger
from datasites.simulation import Story


def check_books(story: Story, delivered: set[str]) -> None:
    """All serve the model, ledgers verify, nothing ran twice and nothing is left open."""
    assert delivered == {home.settings.email for home in story.merchants.values()}
    for home in story.merchants.values():
        ledger = Ledger.open(home.ledger_path)
        ledger.verify()
        jobs = [entry.body["job"] for entry in ledger.entries() if entry.kind == "reserved"]
        assert jobs
        assert len(jobs) == len(set(jobs))
        assert not ledger.open_reservations()
