"""`toyfed demo`: the whole story on one machine, with real datasites in real processes."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from recsys.federation import DEFAULT_MERGE, merge_named
from ui.cli.console import MergeOption, console, guarded
from ui.cli.web import first_links, show_links
from ui.web.launch import (
    doors_beside,
    ending_on_sigterm,
    free_port,
    start_server,
    stop_server,
    wait_ready,
)

if TYPE_CHECKING:
    from datasites.simulation import Story
    from recsys.data import Marketplace
    from recsys.evaluation import Report

__all__ = ["demo"]

METRICS = ("hr@10", "ndcg@10")


@guarded
@ending_on_sigterm()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="A marketplace folder; without it, invented toys.")
    ] = None,
    merchants: Annotated[
        int, typer.Option(min=1, max=64, help="Merchants of the invented marketplace.")
    ] = 6,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=100, help="Rounds; the recipe's default if left out.")
    ] = None,
    epsilon: Annotated[
        float, typer.Option(min=0.01, help="Privacy of each shopper, everything counted.")
    ] = 1.0,
    delta: Annotated[float, typer.Option(help="Probability with which that may fail.")] = 1e-5,
    recipe: Annotated[
        str, typer.Option(help="Which to run, see `toyfed recipes`.")
    ] = "private-als",
    merge: MergeOption = DEFAULT_MERGE,
    seed: Annotated[
        int, typer.Option(help="Makes everything but the released noise repeatable.")
    ] = 0,
    workdir: Annotated[Path, typer.Option(help="Where everything is kept; emptied first.")] = Path(
        "demo"
    ),
    report: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
    headless: Annotated[bool, typer.Option(help="Stop after the report, without a page.")] = False,
    port: Annotated[int, typer.Option(help="Of the page; 0 takes a free one.")] = 0,
) -> None:
    """Run a marketplace: datasites, a study under privacy, a report, and the web page."""
    os.environ.setdefault("PRE_SYNC", "false")
    from datasites.recipes import recipe_named

    merge_named(merge)  # a name that is wrong ends here, before any datasite opens
    recipe_named(recipe).complete({})
    with console.status("waking up PySyft ..."):
        from datasites.simulation import Story, StorySettings
        from datasites.simulation.report import build_report, write_manifest
        from datasites.simulation.story import check_folder
        from recsys.evaluation import Report
        from recsys.files import atomic_write_text

    result = Report()
    settings = StorySettings(
        workdir=workdir.resolve(),
        epsilon=epsilon,
        delta=delta,
        rounds=rounds,
        recipe=recipe,
        merge=merge,
        seed=seed,
    )
    check_folder(settings.workdir)
    with result.phase("data"):
        marketplace = _marketplace(data, merchants, seed)
    story = Story(settings, marketplace, tell=lambda text: console.print(text, highlight=False))
    try:
        story.prepare_folder()
        _rule("Merchants open their datasites")
        with result.phase("datasites"):
            story.open_datasites()
            story.open_study_desk()
        _rule("A data scientist asks, merchants review")
        with result.phase("approval"):
            story.submit_study()
            story.approve_study()
        _rule("Rounds: train privately, merge with FedAvg")
        with result.phase("study"):
            _watch(story)
        target = report or settings.workdir / "report.json"
        manifest = write_manifest(story, target)
        with contextlib.ExitStack() as open_page:
            # The shops can be visited while the report is still being measured.
            server = None if headless else open_page.enter_context(_page(story, manifest, port))
            _rule("What it brought")
            with result.phase("report"), console.status("measuring ..."):
                build_report(story, result)
            # Exact figures: of invented shoppers, or with --data of real ones.
            atomic_write_text(target, result.to_json(), mode=0o600)
            _show(result, marketplace)
            console.print(f"report: {target}", highlight=False)
            if server is not None:
                # Those printed before may have run out while the report was measured.
                show_links(first_links(manifest, doors_beside(manifest)))
                console.print("The web page stays up until Ctrl-C.")
                while server.poll() is None:
                    story.services.check()
                    time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("\nstopped")
    finally:
        story.close()


def _marketplace(data: Path | None, merchants: int, seed: int) -> Marketplace:
    from recsys.data import read_marketplace, synthesize

    if data is None:
        with console.status("inventing toys, shoppers and merchants ..."):
            made = synthesize(None, merchants=merchants, seed=seed)
    else:
        with console.status(f"reading {data} ..."):
            made, report = read_marketplace(data)
        console.print(report.summary(), highlight=False)
    purchases = sum(shop.all.n_purchases for shop in made.shops.values())
    console.print(
        f"[bold]{purchases:,}[/] purchases of [bold]{made.catalogue.n_items:,}[/] toys at "
        f"[bold]{len(made.shops)}[/] merchants",
        highlight=False,
    )
    return made


def _watch(story: Story) -> None:
    """Run the study under a progress bar; one tick per merchant's answer."""
    from ui.cli.study import describe

    merchants = len(story.merchants)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("starting", total=merchants)
        started = time.monotonic()
        for event in story.run_study():
            if event.what == "phase":
                progress.reset(task, description=f"phase {event.phase}", total=merchants)
                started = time.monotonic()
            elif event.what in ("answer", "delivered"):
                progress.advance(task)
            elif event.what == "merged":
                seconds = time.monotonic() - started
                console.print(
                    f"  {event.phase:8} merged {event.detail} updates in {seconds:.1f} s",
                    highlight=False,
                )
            elif event.what == "model":
                progress.reset(task, description="merchants fit their blends", total=merchants)
                console.print(f"  model    {event.detail}", highlight=False)
            else:
                console.print(describe(event), highlight=False)


def _show(result: Report, marketplace: Marketplace) -> None:
    """The results as people like to read them."""
    table = Table(title="Quality on held-out purchases (full ranking, shopper-weighted)")
    table.add_column("model")
    for metric in METRICS:
        table.add_column(metric.upper(), justify="right")
    table.add_column("NDCG@10, 95 %", justify="right")
    table.add_column("what it is")
    for name, about in MODELS.items():
        if name not in result.results:
            continue
        found = result.results[name]
        low, high = found.ci["ndcg@10"]
        table.add_row(
            name,
            *(f"{found.overall[metric]:.4f}" for metric in METRICS),
            f"{low:.4f} – {high:.4f}",
            about,
            style="bold" if name == "federated" else "",
        )
    console.print(table)
    shops = Table(title="Each merchant, NDCG@10")
    for column in ("merchant", "shoppers", "alone", "together", "gain", "epsilon spent"):
        shops.add_column(column, justify="left" if column == "merchant" else "right")
    for name in result.results["alone"].merchants:
        alone = result.results["alone"].merchants[name]["ndcg@10"]
        together = result.results["federated"].merchants[name]["ndcg@10"]
        gain = "–" if not alone > 0 else f"{(together / alone - 1) * 100:+.1f} %"
        spent = result.privacy[name]["epsilon"]
        shoppers = marketplace.shops[name].all.n_shoppers
        shops.add_row(
            name, f"{shoppers:,}", _figure(alone), _figure(together), gain, f"{spent:.4f}"
        )
    console.print(shops)
    joining = result.gain
    console.print(
        f"joining adds {joining['ndcg@10']:+.4f} NDCG@10 (95 %: {joining['low']:+.4f} to "
        f"{joining['high']:+.4f}, paired over {int(joining['n']):,} shoppers)",
        highlight=False,
    )
    console.print(_who_took_it_up(result), highlight=False)


def _who_took_it_up(result: Report) -> str:
    merchants = result.results["alone"].merchants
    if taken_up := int(result.gain["taken_up_by"]):
        return (
            f"{taken_up} of {len(merchants)} merchants blend in what was shared: "
            "where it helps on their own validation purchases"
        )
    return (
        "nothing was learned that helps any merchant's own validation purchases at this epsilon: "
        "all serve what they know by themselves, which releases nothing. More shoppers, a larger "
        "--epsilon or another --recipe may change that (`toyfed recipes`)"
    )


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


MODELS = {
    "popularity": "best sellers of all merchants (simulation: pooled)",
    "content": "public catalogue and the shopper's own history",
    "local": "one merchant's own matrix factorization",
    "alone": "one merchant's best blend, nothing shared",
    "shared": "what was shared, by itself",
    "federated": "the blend with everything shared",
    "pooled": "that blend over all data in one place, no privacy",
}


@contextlib.contextmanager
def _page(story: Story, manifest: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The web page, from now until the block ends."""
    chosen = port or free_port()
    server = start_server(manifest, chosen, log=story.settings.workdir / "logs" / "web.log")
    try:
        with console.status("opening the web page ..."):
            wait_ready(chosen, process=server)
        _rule("The marketplace is open")
        show_links(first_links(manifest, doors_beside(manifest)))
        console.print("shop and merchant console now; insights as soon as the report is there")
        yield server
    finally:
        stop_server(server)


def _rule(title: str) -> None:
    console.rule(f"[bold]{title}[/]", align="left")
