"""`toyfed recipes`: what there is to choose from, and when to choose what."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from ui.cli.console import JsonOption, console, emit, guarded

__all__ = ["recipes"]


@guarded
def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe, for its page.")] = None,
    json_output: JsonOption = False,
) -> None:
    """List the recipes, or show one's page: what it learns, what it releases, when to choose it."""
    from datasites.recipes import recipe_named
    from datasites.recipes.pages import recipe_pages
    from recsys.federation import DEFAULT_MERGE, merge_named, merge_names

    pages = {page.name: page for page in recipe_pages()}
    if name is not None:
        defaults = recipe_named(name).complete({})
        pages = {name: pages[name]}
    if json_output:
        emit([vars(page) for page in pages.values()])
        return
    if name is None:
        table = Table("recipe", "what it learns", "when to choose it", show_lines=True)
        for page in pages.values():
            table.add_row(f"[bold]{page.name}[/]\n{page.title}", page.learns, page.choose)
        console.print(table)
        merges = Table("--merge", "how merchants' updates become one model")
        for merge in merge_names():
            usual = "  (what is done if nothing is said)" if merge == DEFAULT_MERGE else ""
            merges.add_row(merge, merge_named(merge).about + usual)
        console.print(merges)
        console.print("More about one: toyfed recipes NAME. Use it: toyfed study new --recipe NAME")
        return
    page = pages[name]
    console.rule(f"[bold]{page.name}[/]: {page.title}", align="left")
    console.print(Markdown(page.markdown()))
    table = Table("setting in \\[model]", "default")
    for setting, value in defaults.items():
        table.add_row(setting, str(value))
    console.print(table)
