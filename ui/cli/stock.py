"""`toyfed datasite stock`: which toys the shop can send now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded

__all__ = ["stock"]


@guarded
def stock(
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV with a column item_id and, if you like, quantity."),
    ] = None,
    home: DatasiteHomeOption = Path("toyfed-datasite"),
    json_output: JsonOption = False,
) -> None:
    """Say what is in stock; hand a list over to change it. Pages recommend only what you can send.

    A list replaces the one before; a toy with quantity 0 is sold out. Without a list every toy of
    the catalogue counts as in stock.
    """
    from datasites.merchant import MerchantHome
    from datasites.merchant.stock import read_stock, set_stock
    from datasites.merchant.store import load_catalogue

    opened = MerchantHome.open(home)
    catalogue = load_catalogue(opened)
    others = 0
    if file is not None:
        _, others = set_stock(opened, file, catalogue)
    known = read_stock(opened, catalogue)
    kept = catalogue.n_items if known is None else int(known.sum())
    if json_output:
        emit({"toys": catalogue.n_items, "in_stock": kept, "other_rows": others})
        return
    told = f"{kept:,} of {catalogue.n_items:,} toys are in stock."
    if known is None:
        told += " No list was handed over, so all of them count."
    if others:
        told += f" {others:,} rows named no toy of the catalogue and were left out."
    console.print(told)
