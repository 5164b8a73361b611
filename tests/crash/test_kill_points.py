"""Real processes, killed at named places, do what docs/crash-points.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.kills import run_studies, sample_study, try_pages
from tests.crash.market import Market
from tests.crash.points import COORDINATOR, PAGE, PROPOSAL, RESULT, ROUND, SUBMIT, targets
from tests.crash.table import as_row, every_point

TABLE = Path(__file__).parents[2] / "docs" / "crash-points.md"
pytestmark = [
    pytest.mark.attack,
    pytest.mark.e2e,
    pytest.mark.skipif(
        not TABLE.exists(), reason="no table: python -m tests.crash --write docs/crash-points.md"
    ),
]


def table() -> list[str]:
    """The rows of the document; `-` for what a row does not tell."""
    lines = TABLE.read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith("| process")]


def test_the_table_has_every_point_once() -> None:
    every = (*PROPOSAL, *ROUND, *RESULT, *SUBMIT, *COORDINATOR, *PAGE)
    assert sorted(line.split(" | ")[1] for line in table()) == sorted(one.words for one in every)


@pytest.mark.timeout(300)
def test_some_points_do_what_the_table_says(tmp_path: Path) -> None:
    with Market(tmp_path / "market", targets=targets()) as market:
        rows = run_studies(market, [sample_study()]) + try_pages(market, PAGE[3:4])
    assert {as_row(one) for one in rows} <= set(table())


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_point_does_what_the_table_says(tmp_path: Path) -> None:
    rows = every_point(tmp_path / "market")
    assert [as_row(one) for one in rows] == table()
