"""`toyfed study …`: what a data scientist does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from recsys.federation import DEFAULT_MERGE
from ui.cli.console import (
    JsonOption,
    MergeOption,
    ShareOption,
    StudyHomeOption,
    console,
    emit,
    guarded,
)
from ui.cli.peers import print_peers
from ui.cli.trying import try_program, try_recipe

app = typer.Typer(
    help="For data scientists: compose a study, submit it, run its rounds.", no_args_is_help=True
)
HOME = Path("toyfed-study")
_ANEW = "Run the study again: it is written anew."


@app.command()
@guarded
def init(
    email: Annotated[str, typer.Option(help="The address by which merchants know you.")],
    share: ShareOption,
    catalogue: Annotated[Path, typer.Option(help="The public catalogue, items.csv.")],
    share_options: Annotated[
        Path | None,
        typer.Option(help="TOML file with the sign-in for a share that is a server."),
    ] = None,
    home: StudyHomeOption = HOME,
) -> None:
    """Make a study desk: folder, keys, and the public catalogue that studies are about."""
    from datasites.share_options import checked_options, keep_options, poll_seconds
    from datasites.study import ScientistHome, ScientistSettings
    from recsys.data import read_catalogue
    from recsys.files import atomic_path

    public, report = read_catalogue(catalogue)
    shared = share if "://" in share else str(Path(share).resolve())
    signs = checked_options(share_options, shared)
    settings = ScientistSettings(email=email, share=shared, poll_seconds=poll_seconds(shared))
    made = ScientistHome.create(home, settings)
    keep_options(made.root / "private", signs)
    with atomic_path(made.catalogue) as file:
        shutil.copyfile(catalogue, file)
    console.print(report.summary(), highlight=False)
    console.print(
        f"Study desk of [bold]{email}[/] is ready in {made.root}, about {public.n_items:,} toys."
    )


@app.command()
@guarded
def pair(
    merchants: Annotated[list[str] | None, typer.Argument(help="Merchants to ask.")] = None,
    code: Annotated[
        str | None,
        typer.Option(help="The twelve words of the pairing code, as the merchant read them."),
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="Instead: the merchant's key, as it was read; no other is taken then."),
    ] = None,
    revoke: Annotated[bool, typer.Option(help="Forget these merchants and their keys.")] = False,
    home: StudyHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """Ask merchants to pair, and list who did, with the code to compare by phone.

    Both of you see the same twelve words, if nobody stands between you. Let the merchant read its
    words, and type the words that you hear.
    """
    if (fingerprint or code) and len(merchants or []) != 1:
        raise typer.BadParameter("expected exactly one merchant with --code or --fingerprint")
    _, link = _open(home)
    for merchant in merchants or []:
        if revoke:
            link.revoke_peer(merchant)
        else:
            link.request_peer(merchant, fingerprint, code=code)
    link.sync()
    peers = [vars(peer) for peer in link.peers()]
    if json_output:
        emit({"own_fingerprint": link.own_fingerprint, "peers": peers})
        return
    print_peers(f"Merchants of {link.email}", peers, "toyfed study pair")
    console.print(f"Your own fingerprint: {link.own_fingerprint}", highlight=False)


@app.command()
@guarded
def new(
    name: Annotated[str, typer.Argument(help="A new name, such as toys-2026.")],
    merchants: Annotated[list[str], typer.Option("--merchant", "-m", help="Repeatable.")],
    recipe: Annotated[
        str, typer.Option(help="Which to run, see `toyfed recipes`.")
    ] = "private-als",
    epsilon: Annotated[
        float, typer.Option(help="Privacy of each shopper, everything counted.")
    ] = 1.0,
    delta: Annotated[float, typer.Option(help="Probability with which that may fail.")] = 1e-5,
    rounds: Annotated[int | None, typer.Option(help="Rounds of training.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of what is public.")] = None,
    merge: MergeOption = DEFAULT_MERGE,
    custom: Annotated[
        bool, typer.Option("--custom", help="Start a program of your own from an example.")
    ] = False,
    home: StudyHomeOption = HOME,
) -> None:
    """Compose a study: writes study.toml and the recipe's code for you to read and change."""
    from datasites.study import StudySettings, new_study, parse_study

    recipe = "custom" if custom else recipe
    model = {"rounds": rounds, "seed": seed}
    settings: StudySettings = parse_study(
        {
            "study": {
                "name": name,
                "recipe": recipe,
                "merchants": merchants,
            },
            "privacy": {"epsilon": epsilon, "delta": delta},
            "model": {key: value for key, value in model.items() if value is not None},
            "federation": {"merge": merge},
        }
    )
    folder = new_study(_home(home), settings)
    if custom or recipe == "custom":
        console.print(
            f"Wrote {folder / 'code' / 'main.py'}: what one shopper contributes\n"
            f"      {folder / 'server.py'}: what the sums become, on your machine\n"
            f"      {folder / 'study.toml'}: phases, arrays, clip, cost\n"
            f"Next: toyfed study try {name}",
            highlight=False,
        )
        return
    console.print(
        f"Wrote {folder / 'study.toml'}. Next: toyfed study try {name}, then submit {name}"
    )


@app.command("try")
@guarded
def try_out(
    name: str,
    shoppers: Annotated[
        int, typer.Option(help="Invented shoppers for a program of your own.", min=1, max=5000)
    ] = 100,
    home: StudyHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """Run the study here, on invented shoppers, in the sandbox that merchants use.

    A program of your own: how long the rows are that it makes. A shipped recipe: every phase on
    the mock purchases that merchants publish, and what each would send.
    """
    from datasites.study.desk import compose

    opened = _home(home)
    if compose(opened, name).recipe == "custom":
        try_program(opened, name, shoppers, json_output)
    else:
        try_recipe(opened, name, json_output)


@app.command()
@guarded
def submit(name: str, home: StudyHomeOption = HOME) -> None:
    """Send the code request to every merchant of the study."""
    from datasites.study import submit
    from recsys.privacy import spent

    opened, link = _open(home)
    sent = opened.study(name) / "sent"
    before = set(sent.glob("proposal-*"))
    proposal = submit(opened, link, name)
    if before == set(sent.glob("proposal-*")):
        console.print(
            f"[bold]{name}[/] was sent to all its merchants before; nothing was sent again. "
            f"`toyfed study status {name}` shows their answers. After a no, compose a study of "
            "another name."
        )
        return
    table = Table("phase", "releases", "epsilon by itself", title=f"Sent: {name}")
    for phase in proposal.phases:
        table.add_row(
            phase.name,
            ", ".join(spec.name for spec in phase.outputs),
            f"{spent(phase.privacy_events(), proposal.delta):.4g}",
        )
    console.print(table)
    total = spent(proposal.events(), proposal.delta)
    console.print(
        f"In all: epsilon {total:.4g} at delta {proposal.delta:g}, per shopper and merchant."
    )


_SAID = {"done": "yes", "refused": "no"}


@app.command()
@guarded
def status(name: str, home: StudyHomeOption = HOME, json_output: JsonOption = False) -> None:
    """What each merchant said, and how far the study is."""
    from datasites.study import Coordinator

    opened, link = _open(home)
    coordinator = Coordinator(opened, link, name)
    answers = coordinator.answers()
    done = coordinator.checkpoint()
    if json_output:
        emit({"answers": answers, **done})
        return
    table = Table("merchant", "answer", "message", title=f"Study {name}")
    for merchant, (answer, message) in answers.items():
        table.add_row(merchant, _SAID.get(answer, answer), escape(message))
    console.print(table)
    phases = [phase.name for phase in coordinator.proposal.phases]
    console.print(f"finished {len(done['finished'])} of {len(phases)} phases: {', '.join(phases)}")


@app.command()
@guarded
def run(name: str, home: StudyHomeOption = HOME) -> None:
    """Run the study's rounds to the finished model; resumes where a crash stopped it."""
    from datasites.study import Coordinator

    opened, link = _open(home)
    for progress in Coordinator(opened, link, name).run():
        console.print(describe(progress), highlight=False)


@app.command()
@guarded
def report(name: str, home: StudyHomeOption = HOME, json_output: JsonOption = False) -> None:
    """The model card: settings, merchants, privacy, and the noised quality that was released."""
    from datasites.private import read_private

    opened = _home(home)
    folder = opened.study(name) / "artefact"
    if not (folder / "MODEL_CARD.md").exists():
        from datasites.errors import SettingsError

        raise SettingsError(
            f"expected a finished study '{name}', found no artefact. "
            f"Run it: toyfed study run {name}"
        )
    if json_output:
        emit(read_private(folder / "manifest.json", json.loads, _ANEW))
        return
    from rich.markdown import Markdown

    console.print(Markdown(read_private(folder / "MODEL_CARD.md", bytes.decode, _ANEW)))


def describe(progress: Any) -> str:
    """One line about one event of a running study."""
    texts = {
        "phase": f"[bold]{progress.phase}[/]: state published, jobs sent",
        "answer": f"  {progress.merchant} released its update",
        "dropped": (
            f"  [yellow]{progress.merchant} left out ({progress.phase}): "
            f"{escape(progress.detail)}[/]"
        ),
        "merged": f"  merged {progress.detail} updates",
        "model": f"[bold]model[/]: {progress.detail}",
        "delivered": f"  {progress.merchant} serves the model",
        "away": f"  [yellow]waiting: {escape(progress.detail)}[/]",
        "back": "  the share is back: going on",
    }
    return texts[progress.what]


def _home(home: Path) -> Any:
    from datasites.study import ScientistHome

    return ScientistHome.open(home)


def _open(home: Path) -> tuple[Any, Any]:
    from datasites.syftbox import ScientistLink

    opened = _home(home)
    return opened, ScientistLink(opened.settings.email, opened.root, opened.settings.share)
