"""`toyfed datasite add-data`: a merchant's own purchases, checked and put in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasites.errors import SettingsError
from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded
from ui.ledger_words import when

if TYPE_CHECKING:
    from datasites.merchant import MerchantHome

__all__ = ["add_data", "handed_over"]


@guarded
def add_data(
    purchases: Annotated[Path, typer.Argument(help="Your purchases, CSV or Parquet.")],
    catalogue: Annotated[Path, typer.Option(help="The public catalogue, items.csv.")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column mapping ours=yours, such as shopper_id=customer. Repeatable."),
    ] = None,
    merchant: Annotated[
        str | None, typer.Option(help="Whose, where the file holds several merchants' purchases.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put them in place of those that are here.")
    ] = False,
    home: DatasiteHomeOption = Path("toyfed-datasite"),
    json_output: JsonOption = False,
) -> None:
    """Check purchases and keep them on this datasite, outside everything that is synced.

    A row a purchase: shopper_id, item_id, and timestamp or position (`--column` names yours).
    They are all that the datasite has: a later file takes their place.
    """
    from datasites.merchant import MerchantHome, add_data, desk

    mapping = {}
    for pair in column or []:
        ours, _, yours = pair.partition("=")
        if not yours:
            raise typer.BadParameter(f"expected ours=yours, found {pair!r}")
        mapping[ours.strip()] = yours.strip()
    opened = MerchantHome.open(home)
    if desk.has_data(opened) and not replace:
        raise SettingsError(
            f"expected a datasite without purchases, found {handed_over(opened)}. They would not "
            "be added to but replaced: say --replace if you mean that."
        )
    shop, report = add_data(opened, purchases, catalogue, mapping, merchant)
    if json_output:
        emit(
            {
                "rows_read": report.rows_read,
                "rows_kept": report.rows_kept,
                "problems": report.counts,
            }
        )
        return
    console.print(report.summary(), highlight=False)
    console.print(
        f"Kept {shop.all.n_purchases:,} purchases of {shop.all.n_shoppers:,} shoppers. "
        "They stay here; peers see a mock made from the catalogue alone."
    )


def handed_over(home: MerchantHome) -> str:
    """What was handed over last, in words."""
    try:
        facts = json.loads((home.private / "data-report.json").read_text(encoding="utf-8"))
        return f"{facts['rows_kept']:,} from {facts['source']}, {when(facts['added_at'])}"
    except (OSError, ValueError, KeyError, TypeError):
        return "some"
