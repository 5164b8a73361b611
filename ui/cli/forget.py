"""`toyfed datasite forget`: a shopper's purchases go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded

__all__ = ["forget"]


@guarded
def forget(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    home: DatasiteHomeOption = Path("toyfed-datasite"),
    json_output: JsonOption = False,
) -> None:
    """Take one shopper's purchases out of this datasite, for good.

    The shopper's id is asked for, or read from standard input: never an argument, which other
    people on this machine and the shell's history could see. A later file of purchases leaves the
    shopper out, too. Noised releases that were made before cannot be taken back; no one can tell
    from them whether the shopper was here.
    """
    from datasites.errors import DatasiteError
    from datasites.merchant import MerchantHome
    from datasites.merchant.fit import refit
    from datasites.merchant.forget import forget as take_out
    from datasites.merchant.stale import has_open_shop, is_stale

    opened = MerchantHome.open(home)
    if sys.stdin.isatty():
        shopper = typer.prompt("The shopper's id", hide_input=True)
    else:
        shopper = sys.stdin.readline().rstrip("\r\n")
    if not shopper:
        raise typer.BadParameter("expected a shopper's id on standard input, found none")
    if not yes and sys.stdin.isatty():
        typer.confirm("Take this shopper's purchases out, for good?", abort=True)
    was_here = take_out(opened, shopper)
    problem = ""
    if is_stale(opened):
        try:
            with console.status("Making this shop's lists anew, without the shopper ..."):
                refit(opened)
        except (DatasiteError, OSError) as error:
            problem = str(error)
    if json_output:
        emit({"was_here": was_here, "shop_open": has_open_shop(opened)})
        return
    console.print(
        "The shopper's purchases are gone, and stay away when purchases are added again."
        if was_here
        else "No purchases of such a shopper are here; later files leave the shopper out."
    )
    if problem:
        console.print(
            "The shop stays closed until its lists are made anew, which failed: "
            f"{escape(problem)}. The datasite's service tries again."
        )
