"""The command tree."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from ui.cli import data, datasite, demo, doctor, recipes, study, web

__all__ = ["app", "main"]

app = typer.Typer(
    name="toyfed",
    help="Toy merchants learn one recommender together while every purchase stays at home.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.add_typer(datasite.app, name="datasite")
app.add_typer(study.app, name="study")
app.add_typer(data.app, name="data")
app.add_typer(web.app, name="web")
app.command("demo")(demo.demo)
app.command("recipes")(recipes.recipes)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("toyfed", "syft")]
        typer.echo(", ".join(versions))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show versions and stop."),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point of the `toyfed` program."""
    app()
