"""`toyfed data …`: marketplace folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from datasites.errors import SettingsError
from ui.cli.console import JsonOption, console, emit, guarded

ForceOption = Annotated[
    bool, typer.Option("--force", help="Write over a marketplace that is there already.")
]
app = typer.Typer(help="Describe, convert or synthesize marketplace folders.", no_args_is_help=True)


@app.command()
@guarded
def describe(
    folder: Annotated[Path, typer.Argument(help="A folder with interactions and items.")],
    json_output: JsonOption = False,
) -> None:
    """Read a marketplace folder and say what is in it, bad rows included."""
    from recsys.data import describe, read_marketplace

    marketplace, report = read_marketplace(folder)
    facts = describe(marketplace)
    if json_output:
        emit({"facts": facts, "rows_read": report.rows_read, "problems": report.counts})
        return
    console.print(report.summary(), highlight=False)
    for key, value in facts.items():
        if key != "merchants":
            console.print(f"{key.replace('_', ' '):28} {value}", highlight=False)
    table = Table("merchant", "shoppers", "purchases", title="Merchants")
    for name, shop in marketplace.shops.items():
        table.add_row(name, f"{shop.all.n_shoppers:,}", f"{shop.all.n_purchases:,}")
    console.print(table)


@app.command()
@guarded
def convert(
    reviews: Annotated[Path, typer.Argument(help="Amazon Reviews 2018/2023 JSONL(.gz) or CSV.")],
    out: Annotated[Path, typer.Argument(help="The marketplace folder to write.")],
    meta: Annotated[Path | None, typer.Option(help="Item metadata, JSONL(.gz).")] = None,
    merchants: Annotated[int, typer.Option(min=1, help="Merchants to draw.")] = 8,
    seed: Annotated[int, typer.Option(help="Repeatable draw.")] = 0,
    force: ForceOption = False,
) -> None:
    """Turn Amazon Reviews into a marketplace folder with several merchants."""
    from recsys.data import convert_amazon

    _refuse_to_overwrite(out, force)
    report = convert_amazon(reviews, meta, out, merchants=merchants, seed=seed)
    console.print(report.summary(), highlight=False)


@app.command()
@guarded
def synthesize(
    out: Annotated[Path, typer.Argument(help="The marketplace folder to write.")],
    merchants: Annotated[int, typer.Option(min=1)] = 6,
    shoppers: Annotated[int, typer.Option(min=1)] = 20_000,
    toys: Annotated[
        int, typer.Option(min=10, max=50_000, help="50,000 take 2 GB, and memory grows as squares.")
    ] = 300,
    seed: Annotated[int, typer.Option(help="The same seed gives the same marketplace.")] = 0,
    force: ForceOption = False,
) -> None:
    """Invent a toy marketplace: catalogue, shoppers with children and tastes, merchants."""
    from recsys.data import synthesize

    _refuse_to_overwrite(out, force)
    made = synthesize(out, merchants=merchants, shoppers=shoppers, toys=toys, seed=seed)
    purchases = sum(shop.all.n_purchases for shop in made.shops.values())
    console.print(
        f"Wrote {out}: {purchases:,} purchases, {made.catalogue.n_items:,} toys, "
        f"{len(made.shops)} merchants."
    )


def _refuse_to_overwrite(folder: Path, force: bool) -> None:
    there = sorted(folder.glob("interactions.*")) + sorted(folder.glob("items.*"))
    if there and not force:
        raise SettingsError(
            f"expected {folder} without a marketplace, found {there[0].name} in it. Choose another "
            "folder, or say --force to write over it."
        )
