"""`toyfed study try`: a study on invented shoppers, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ui.cli.console import console, emit

if TYPE_CHECKING:
    from datasites.study import ScientistHome

__all__ = ["try_program", "try_recipe"]


def try_program(home: ScientistHome, name: str, shoppers: int, json_output: bool) -> None:
    """Rows of a program of the scientist's own, by phase."""
    from datasites.study import trial

    found = [vars(one) for one in trial.try_program(home, name, shoppers)]
    if json_output:
        emit(found)
        return
    table = Table("phase", "rows", "failed", "row length: median", "longest", "cut at", "ms each")
    for one in found:
        table.add_row(
            one["phase"],
            str(one["rows"]),
            str(one["failed"]),
            f"{one['median_norm']:.4g}",
            f"{one['largest_norm']:.4g}",
            f"{one['clip']:g} ({one['clipped']} rows)",
            f"{one['milliseconds']:.1f}",
        )
    console.print(table)
    for one in found:
        if one["said"]:
            console.print(f"{one['phase']}: {escape(one['said'])}", highlight=False)
    console.print(f"Nothing was sent. Next: toyfed study submit {name}")


def try_recipe(home: ScientistHome, name: str, json_output: bool) -> None:
    """What each merchant would send in each phase of a shipped recipe, and what a run takes."""
    from datasites.study.rehearsal import rehearse

    found = []
    with console.status("Trying it on mock purchases …") as status:
        for one in rehearse(home, name):
            found.append(one)
            status.update(f"Trying it on mock purchases … {one.phase} went well")
    if json_output:
        emit([vars(one) for one in found])
        return
    table = Table("phase", "each merchant would send", "bytes", "seconds", "peak memory")
    for one in found:
        table.add_row(
            one.phase,
            ", ".join(one.arrays),
            f"{one.sends_bytes:,}",
            f"{one.seconds:.1f}",
            f"{one.peak_mb:,.0f} MB",
        )
    console.print(table)
    console.print(
        "All of it on a few invented shoppers: real runs take longer. Nothing was sent. "
        f"Next: toyfed study submit {name}"
    )
