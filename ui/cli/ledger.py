"""`toyfed datasite ledger …`: the privacy ledger, shown, checked, exported, renewed."""

from __future__ import annotations

import getpass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded
from ui.ledger_words import cost_of, in_words, when

HOME = Path("toyfed-datasite")
app = typer.Typer(help="The privacy ledger: what was approved, run and released, and its cost.")

ByOption = Annotated[str, typer.Option("--by", help="Your name, as it will be booked.")]


@app.callback(invoke_without_command=True)
@guarded
def show(
    context: typer.Context,
    export: Annotated[
        Path | None, typer.Option(help="Write all entries here as JSON lines.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the hash chain.")] = False,
    last: Annotated[int, typer.Option(help="Show the last N entries.", min=1)] = 30,
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """Show the privacy ledger; its hash chain is verified first (exit code 4 if it is broken)."""
    if context.invoked_subcommand is not None:
        return
    from datasites.merchant import Ledger, MerchantHome

    book = Ledger.open(MerchantHome.open(home).ledger_path)
    entries = book.entries()
    if export is not None:
        book.export(export)
    facts = _facts(book)
    if json_output:
        emit(facts | {"entries": [] if verify else [vars(entry) for entry in entries[-last:]]})
        return
    if not verify:
        table = Table("#", "when (UTC)", "what", "epsilon", title="Privacy ledger")
        for entry in entries[-last:]:
            cost = cost_of(entry, book.budget.delta)
            about = f"{entry.kind} {entry.study}".strip()
            table.add_row(
                str(entry.seq),
                when(entry.at),
                f"[bold]{escape(about)}[/]\n{escape(in_words(entry))}",
                "" if cost is None else f"{cost:.4g}",
                style="dim" if entry.note else "",
            )
        console.print(table)
    console.print(f"{len(entries)} entries verified; the last is {entries[-1].hash}")
    console.print(budget_in_words(book))


@app.command("export")
@guarded
def export_(
    file: Annotated[Path, typer.Argument(help="Where to write all entries.")],
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """Write all entries to a file that can be checked without the ledger."""
    from datasites.merchant import Ledger, MerchantHome

    book = Ledger.open(MerchantHome.open(home).ledger_path)
    book.export(file)
    head = book.sighting()
    if json_output:
        emit({"file": str(file), "entries": head.seq, "hash": head.hash})
        return
    console.print(f"Wrote {head.seq} entries to {file}; the last is {head.hash}")


@app.command("verify-export")
@guarded
def verify_export_(
    file: Annotated[Path, typer.Argument(help="What `ledger export` wrote.")],
    json_output: JsonOption = False,
) -> None:
    """Check an exported ledger, without its datasite (exit code 4 if it does not verify)."""
    from datasites.merchant.ledger import verify_export

    books = verify_export(file)
    spent = books.cost_of(books.ever)
    if json_output:
        emit({"entries": books.seq, "hash": books.hash, "spent_ever": spent._asdict()})
        return
    console.print(
        f"{books.seq} entries verified; spent epsilon {spent.epsilon:.4g} at delta "
        f"{books.budget.delta:g}.\nThe last is {books.hash}: compare it with the ledger's own."
    )


@app.command()
@guarded
def renew(
    today: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="What day it is, by you and not by the machine. Needed."
        ),
    ] = None,
    by: ByOption = "",
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """Begin the next period of the budget, once this one is over."""
    from datasites.merchant import Ledger, MerchantHome

    book = Ledger.open(MerchantHome.open(home).ledger_path)
    if today is None and book.period().ends is not None:
        raise typer.BadParameter("say what day it is, as in --today 2026-01-31")
    # A budget for good is refused whatever day it is.
    book.renew(today.date() if today else date.today(), by or getpass.getuser())
    emit(_facts(book)) if json_output else console.print(budget_in_words(book))


@app.command("accept-restore")
@guarded
def accept_restore(
    by: ByOption, home: DatasiteHomeOption = HOME, json_output: JsonOption = False
) -> None:
    """Go on with an older copy of the ledger: what the lost entries had cost is booked as spent.

    Only if the newest ledger is lost for good. All approvals are taken back and all peers must
    pair again, as the lost entries may have revoked them. If purchases came back with the ledger,
    so may shoppers who asked to be forgotten since: `toyfed datasite forget` them again.
    """
    from datasites.merchant import Ledger, MerchantHome
    from datasites.merchant.witness import Witnesses

    opened = MerchantHome.open(home)
    book = Ledger.open(opened.ledger_path)
    lost = book.accept_restore(Witnesses(opened, book).seen(), by)
    if json_output:
        emit(_facts(book) | {"lost": lost._asdict()})
        return
    console.print(f"Booked epsilon {lost.epsilon:.4g} for the lost entries.")
    console.print(budget_in_words(book))


@app.command("start-anew")
@guarded
def start_anew(by: ByOption, home: DatasiteHomeOption = HOME) -> None:
    """Begin under an address that another datasite had, whose shoppers are not those here.

    If some of them are: make the datasite with `init --spent-before` instead, or their privacy is
    spent twice.
    """
    from datasites.merchant import Ledger, MerchantHome
    from datasites.merchant.witness import STARTED_ANEW

    Ledger.open(MerchantHome.open(home).ledger_path).note(STARTED_ANEW, {"by": by})
    console.print("Noted in the ledger. What another datasite left is written over from now on.")


@app.command("rebuild-head")
@guarded
def rebuild_head(
    by: ByOption, home: DatasiteHomeOption = HOME, json_output: JsonOption = False
) -> None:
    """Make a new head file for a ledger whose own is lost, if you know the ledger is the newest."""
    from datasites.merchant import Ledger, MerchantHome

    book = Ledger.rebuild_head(MerchantHome.open(home).ledger_path, by)
    emit(_facts(book)) if json_output else console.print(budget_in_words(book))


def budget_in_words(book: Any) -> str:
    """Spent, promised, budget, and where there are periods all that they have cost together."""
    budget, spent, promised = book.budget, book.spent(), book.promised()
    text = (
        f"spent epsilon [bold]{spent.epsilon:.4g}[/], promised {promised.epsilon:.4g}, "
        f"budget {budget.epsilon:g} at delta {budget.delta:g}"
    )
    period = book.period()
    if period.days is None:
        return text
    most = period.lifetime_epsilon
    cap = "" if most is None else f", of at most {most:g}"
    return (
        f"{text}\nperiod {period.number} of {period.days} days or more, to be renewed after "
        f"{period.ends[:10]}; over all periods so far epsilon "
        f"[bold]{book.spent_ever().epsilon:.4g}[/]{cap}"
    )


def _facts(book: Any) -> dict[str, Any]:
    budget = book.budget
    return {
        "verified": True,
        "budget": {"epsilon": budget.epsilon, "delta": budget.delta},
        "spent": book.spent()._asdict(),
        "promised": book.promised()._asdict(),
        "period": book.period()._asdict(),
        "spent_ever": book.spent_ever()._asdict(),
        "head": {"seq": (head := book.sighting()).seq, "hash": head.hash},
    }
