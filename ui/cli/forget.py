"""`toyfed datasite forget`: shoppers' purchases go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded

if TYPE_CHECKING:
    from datasites.merchant import MerchantHome

__all__ = ["forget"]


@guarded
def forget(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    take_back: Annotated[
        bool,
        typer.Option(
            "--take-back", help="The shopper has come back: later files of purchases count again."
        ),
    ] = False,
    home: DatasiteHomeOption = Path("toyfed-datasite"),
    json_output: JsonOption = False,
) -> None:
    """Take shoppers' purchases out of this datasite, for good.

    The shopper's id is asked for, or ids are read from standard input, one a line: never an
    argument, which other people on this machine and the shell's history could see. A later file of
    purchases leaves these shoppers out, too. Noised releases that were made before cannot be taken
    back; no one can tell from them whether a shopper was here.
    """
    from datasites.merchant import MerchantHome
    from datasites.merchant.forget import forget_all
    from datasites.merchant.forget import take_back as remember_again
    from datasites.merchant.stale import has_open_shop

    opened = MerchantHome.open(home)
    shoppers = _asked_for()
    if take_back:
        had_asked = sum(remember_again(opened, shoppers))
        if json_output:
            emit({"asked": len(shoppers), "taken_back": had_asked})
            return
        console.print(
            f"{had_asked:,} of {len(shoppers):,} had asked to be forgotten. "
            "The next file of purchases that is added keeps what they bought."
        )
        return
    if not yes and sys.stdin.isatty():
        typer.confirm("Take this shopper's purchases out, for good?", abort=True)
    found = sum(forget_all(opened, shoppers))
    problem = _open_again(opened)
    if json_output:
        told = {"asked": len(shoppers), "found": found, "shop_open": has_open_shop(opened)}
        emit(told | ({"problem": problem} if problem else {}))
        return
    console.print(_told(len(shoppers), found))
    if problem:
        console.print(
            "The shop stays closed until its lists are made anew, which failed: "
            f"{escape(problem)}. The datasite's service tries again."
        )


def _asked_for() -> list[str]:
    """Whose ids were typed or piped in, at least one."""
    if sys.stdin.isatty():
        lines = [typer.prompt("The shopper's id", hide_input=True)]
    else:
        try:
            # Lines as a file of purchases has them; some editors put a mark at the beginning.
            lines = sys.stdin.read().removeprefix("\ufeff").split("\n")
        except UnicodeError:
            raise typer.BadParameter("expected shoppers' ids in UTF-8, found other bytes") from None
    shoppers = [line for line in lines if line.strip()]
    if not shoppers:
        raise typer.BadParameter("expected shoppers' ids on standard input, found none")
    return shoppers


def _open_again(home: MerchantHome) -> str:
    """Fit the closed shop again without them; what was in the way of it, "" if nothing."""
    from datasites.errors import DatasiteError
    from datasites.merchant.fit import refit
    from datasites.merchant.stale import is_stale

    if not is_stale(home):
        return ""
    try:
        with console.status("Making this shop's lists anew, without these shoppers ..."):
            refit(home)
    except (DatasiteError, OSError) as error:
        return str(error)
    return ""


def _told(asked: int, found: int) -> str:
    if asked == 1:
        return (
            "The shopper's purchases are gone, and stay away when purchases are added again."
            if found
            else "No purchases of such a shopper are here: look whether the id is spelled as in "
            "your file. Later files leave a shopper of this id out."
        )
    return (
        f"Purchases of {found:,} of {asked:,} shoppers are gone; of the others none are here. "
        "Later files leave all of them out."
    )
