"""The table of kill points, as docs/crash-points.md has it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from recsys.files import atomic_write_text
from tests.crash.kills import Outcome, every_study, run_studies, try_pages
from tests.crash.market import Market
from tests.crash.points import targets

__all__ = ["as_row", "every_point", "write_table"]

_HEAD = """# Crash points

Each row is a real `kill -9` of a real process at that place: merchants' services with their
sandboxes, `toyfed study submit`, `toyfed study run`, the merchant console. Afterwards the process
is started again and nothing else is done by hand; the study runs to its end. Checked after every
study, besides what the row says: the ledger verifies; no run was reserved twice; what arrived has
the sha256 that was booked before it left; nothing spent was given back; the other merchant took
part in every phase in which it was not killed itself; the model that arrives is the one that was
sent, and it is served; no process, lock, control group or half-made file stays. A row is what
happened in the run that wrote it:

    python -m tests.crash --write docs/crash-points.md

`tests/crash` kills at a few of these places in every `make test` and at all of them in `make soak`,
and compares with this table. There too: each party stopped before every single write of a study,
the share gone, unmounted, replaced, read-only or stale in the middle of one, and clocks set 400
days ahead or behind at each of these places but the page's: no run is lost or run twice, no budget
given back. (An approval ends after its days by the clock that the merchant has.)

| process | killed | booked by then | lost | what happened next |
|---|---|---|---|---|
"""


def every_point(folder: Path, jobs: int = 1) -> list[Outcome]:
    """Kill at every point, each study in a marketplace of its own; what became of each.

    Args:
        jobs: How many marketplaces at once.
    """
    numbers = range(len(every_study()) + 1)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_one_part, [folder] * len(numbers), numbers)
        return [row for rows in parts for row in rows]


def _one_part(folder: Path, number: int) -> list[Outcome]:
    with Market(folder / f"part-{number}", targets=targets()) as market:
        studies = every_study()
        return (
            run_studies(market, [studies[number]]) if number < len(studies) else try_pages(market)
        )


def as_row(one: Outcome) -> str:
    """One line of the table."""
    return f"| {one.part} | {one.words} | {one.booked} | {one.lost} | {one.afterwards} |"


def write_table(file: Path, rows: Iterable[Outcome]) -> None:
    """Write the document."""
    atomic_write_text(file, _HEAD + "\n".join(map(as_row, rows)) + "\n")
