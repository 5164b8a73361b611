"""`toyfed datasite …`: what a merchant does."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from ui.cli import ledger as ledger_verbs
from ui.cli import peers
from ui.cli.console import (
    DatasiteHomeOption,
    JsonOption,
    ShareOption,
    console,
    emit,
    guarded,
    stderr,
)
from ui.cli.forget import forget
from ui.cli.hand_over import add_data, handed_over
from ui.cli.stock import stock
from ui.ledger_words import forecast_in_words, when

app = typer.Typer(
    help="For merchants: run a datasite, review requests, keep the ledger.", no_args_is_help=True
)
HOME = Path("toyfed-datasite")
app.command("pair")(peers.pair)
app.add_typer(ledger_verbs.app, name="ledger")
app.command("quarantine")(peers.quarantine)
app.command("add-data")(add_data)
app.command("stock")(stock)
app.command("forget")(forget)


@app.command()
@guarded
def init(
    name: Annotated[str, typer.Argument(help="The shop's name, as pages show it.")],
    email: Annotated[str, typer.Option(help="The address by which peers know this datasite.")],
    share: ShareOption,
    home: DatasiteHomeOption = HOME,
    epsilon: Annotated[float, typer.Option(help="Privacy budget of each shopper, for good.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Probability with which that may fail.")] = 1e-5,
    period_days: Annotated[
        int | None, typer.Option(help="Make the budget one of a period that you renew.", min=1)
    ] = None,
    lifetime_epsilon: Annotated[
        float | None, typer.Option(help="The most that all periods together may cost.")
    ] = None,
    memory_mb: Annotated[int, typer.Option(help="Memory that remote code may use.")] = 2048,
    share_options: Annotated[
        Path | None,
        typer.Option(help="TOML file with the sign-in for a share that is a server."),
    ] = None,
    spent_before: Annotated[
        list[Path] | None,
        typer.Option(
            help="Exported ledger of an earlier datasite with some of the same shoppers: what it "
            "has cost counts here too. Repeatable."
        ),
    ] = None,
    forgotten_from: Annotated[
        Path | None,
        typer.Option(
            metavar="HOME",
            help="Folder of an earlier datasite: who asked to be forgotten there is left out here.",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Make a datasite: folder, settings, keys, and a ledger with the whole budget.

    Did some of these shoppers take part at an earlier datasite of yours? Then say so with
    --spent-before, or their privacy is spent twice; and with --forgotten-from, or who asked to be
    forgotten there comes back.
    """
    from datasites.merchant import MerchantHome, MerchantSettings
    from datasites.merchant.forget import take_over, who_was_forgotten
    from datasites.merchant.ledger import Ledger, verify_export
    from datasites.merchant.ledger.terms import Terms
    from datasites.share_options import checked_options, keep_options, poll_seconds
    from recsys.privacy import Budget

    settings = MerchantSettings(
        name=name,
        email=email,
        share=_absolute(share),
        epsilon=epsilon,
        delta=delta,
        memory_mb=memory_mb,
        poll_seconds=poll_seconds(share),
    )
    signs = checked_options(share_options, settings.share)
    Terms(Budget(epsilon, delta), period_days, lifetime_epsilon)  # before anything is made
    earlier = [verify_export(file) for file in spent_before or []]
    forgotten = who_was_forgotten(MerchantHome.open(forgotten_from)) if forgotten_from else None
    made = MerchantHome.create(home, settings)
    if forgotten is not None:
        take_over(made, forgotten)
    keep_options(made.private, signs)
    spent = Ledger.create(
        made.ledger_path,
        Budget(epsilon, delta),
        period_days=period_days,
        lifetime_epsilon=lifetime_epsilon,
        earlier=earlier,
    ).spent()
    if json_output:
        emit(
            {
                "home": str(made.root),
                "epsilon": epsilon,
                "delta": delta,
                "spent": spent.epsilon,
                "forgotten": 0 if forgotten is None else len(forgotten.hashes),
            }
        )
        return
    before = (
        f"  spent    epsilon {spent.epsilon:.4g} of it at earlier datasites\n" if earlier else ""
    )
    if forgotten is not None:
        before += f"  left out {len(forgotten.hashes):,} who asked to be forgotten\n"
    elif earlier:
        before += (
            "  note     who asked to be forgotten at an earlier datasite is left out here only "
            "with --forgotten-from\n"
        )
    console.print(
        f"Datasite of [bold]{name}[/] is ready in {made.root}\n"
        f"  budget   epsilon {epsilon:g} at delta {delta:g}, per shopper, "
        f"{'for good' if period_days is None else f'per {period_days} days'}\n"
        f"{before}"
        "  next     toyfed datasite add-data purchases.csv --catalogue items.csv"
    )


@app.command()
@guarded
def serve(
    home: DatasiteHomeOption = HOME,
    once: Annotated[bool, typer.Option(help="One pass, then stop.")] = False,
) -> None:
    """Run the datasite: sync, queue requests for review, run what was approved. Ctrl-C stops."""
    from datasites.merchant import MerchantHome
    from datasites.merchant.loop import serve

    opened = MerchantHome.open(home)
    name = escape(opened.settings.name)
    told = f"Serving [bold]{name}[/]" + ("." if once else "; Ctrl-C stops.")
    serve(opened, once=once, begun=lambda: console.print(told))


@app.command()
@guarded
def requests(
    study: Annotated[str | None, typer.Argument(help="Show this request in full.")] = None,
    code: Annotated[bool, typer.Option(help="Show the submitted code.")] = False,
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """List code requests, or show one: code, findings, what it would release, what it costs."""
    from datasites.merchant import Ledger, MerchantHome, desk

    opened = MerchantHome.open(home)
    ledger = Ledger.open(opened.ledger_path)
    if study is None:
        found = desk.requests(opened, ledger)
        if json_output:
            emit([_request_facts(request) for request in found])
            return
        table = Table("study", "from", "recipe", "epsilon", "received", "status")
        for request in found:
            table.add_row(
                request.study,
                request.sender,
                request.proposal.recipe,
                f"{request.proposal.epsilon:g}",
                when(request.received_at),
                request.status,
            )
        console.print(table if found else "No requests yet.")
        for problem in desk.damaged_requests(opened, ledger):
            stderr.print(f"[yellow]{escape(problem)}[/]", highlight=False)
        return
    review = desk.review(opened, ledger, study)
    if json_output:
        emit(_review_facts(review))
        return
    _print_review(review, with_code=code)


@app.command()
@guarded
def approve(
    study: str,
    days: Annotated[int, typer.Option(help="How long the approval stands.", min=1, max=365)] = 30,
    read_code: Annotated[
        bool,
        typer.Option(
            "--i-have-read-the-code", help="Needed for code that is not a recipe of this release."
        ),
    ] = False,
    home: DatasiteHomeOption = HOME,
) -> None:
    """Approve a study: its code, settings and whole cost, bound by hash, until it expires."""
    from datasites.merchant import Ledger, MerchantHome, desk

    opened = MerchantHome.open(home)
    ledger = Ledger.open(opened.ledger_path)
    given = desk.approve(
        opened, ledger, study, by=getpass.getuser(), days=days, read_foreign_code=read_code
    )
    console.print(
        f"Approved [bold]{study}[/] until {given.expires[:10]}: {given.rounds} runs. "
        f"Left for others: epsilon {ledger.available().epsilon:.3g}."
    )


@app.command()
@guarded
def reject(
    study: str,
    reason: Annotated[str, typer.Option(help="Sent to the data scientist.")] = "no reason given",
    home: DatasiteHomeOption = HOME,
) -> None:
    """Reject a study; its sender sees the reason."""
    from datasites.merchant import Ledger, MerchantHome, desk

    opened = MerchantHome.open(home)
    desk.reject(opened, Ledger.open(opened.ledger_path), study, reason=reason, by=getpass.getuser())
    console.print(f"Rejected [bold]{study}[/].")


@app.command()
@guarded
def revoke(study: str, home: DatasiteHomeOption = HOME) -> None:
    """Take an approval back: nothing more of it runs, what was released stays spent."""
    from datasites.merchant import Ledger, MerchantHome, desk

    opened = MerchantHome.open(home)
    desk.revoke(opened, Ledger.open(opened.ledger_path), study, by=getpass.getuser())
    console.print(f"Revoked [bold]{study}[/].")


@app.command()
@guarded
def status(home: DatasiteHomeOption = HOME, json_output: JsonOption = False) -> None:
    """Is the service running, and what waits for you?"""
    from datasites.merchant import Ledger, MerchantHome, desk
    from datasites.merchant.heartbeat import read_beat, service_state
    from datasites.merchant.ledger import forecast
    from datasites.merchant.witness import written_places

    opened = MerchantHome.open(home)
    ledger = Ledger.open(opened.ledger_path)
    beat = read_beat(opened)
    state = service_state(opened, busy=bool(ledger.open_reservations()))
    waiting = [one.study for one in desk.requests(opened, ledger) if one.status == "pending"]
    witnesses = sorted(written_places(opened))
    ahead = forecast(ledger)
    facts = {
        "name": opened.settings.name,
        "service": state.state,
        "detail": state.detail,
        "last_pass": beat.get("at", ""),
        "has_data": desk.has_data(opened),
        "waiting": waiting,
        "spent_epsilon": ledger.spent().epsilon,
        "budget_epsilon": ledger.budget.epsilon,
        "forecast": {
            "studies_so_far": ahead.studies,
            "epsilon_of_each": ahead.typical if ahead.studies else None,
            "more_like_them": ahead.more,
            "until": ahead.until and ahead.until.isoformat(),
            "fits": {f"{size:g}": count for size, count in ahead.fits.items()},
        },
        "witnesses": witnesses,
    }
    if json_output:
        emit(facts)
        return
    lines = {
        "shop": escape(opened.settings.name),
        "service": ": ".join(filter(None, (state.text, escape(state.detail)))),
        "last pass": f"{when(beat['at'])} UTC" if beat.get("at") else "none yet",
        "purchases": escape(handed_over(opened))
        if facts["has_data"]
        else "none yet; see `toyfed datasite add-data`",
        "waiting": escape(", ".join(waiting)) or "no request",
        "ledger": ledger_verbs.budget_in_words(ledger),
        "forecast": forecast_in_words(ahead, ledger.period()),
        "remembered": f"by {', '.join(witnesses)}" if witnesses else "nowhere yet",
    }
    for name, told in lines.items():
        console.print(f"[dim]{name:11}[/] {told}", highlight=False)


def _absolute(share: str) -> str:
    return share if "://" in share else str(Path(share).resolve())


def _request_facts(request: Any) -> dict[str, Any]:
    return {
        "study": request.study,
        "sender": request.sender,
        "recipe": request.proposal.recipe,
        "epsilon": request.proposal.epsilon,
        "delta": request.proposal.delta,
        "received_at": request.received_at,
        "code_sha256": request.code_sha256,
        "status": request.status,
    }


def _review_facts(review: Any) -> dict[str, Any]:
    return _request_facts(review.request) | {
        "shipped": review.shipped,
        "noised_here": review.noised_here,
        "problems": review.problems,
        "findings": [vars(finding) for finding in review.findings],
        "cost_epsilon": review.cost_epsilon,
        "held_epsilon": review.spent_epsilon,
        "after_epsilon": review.after_epsilon,
        "budget_epsilon": review.budget.epsilon,
        "phases": [phase.model_dump(mode="json") for phase in review.request.proposal.phases],
    }


def _print_review(review: Any, *, with_code: bool) -> None:
    request = review.request
    badge = (
        "[green]ToyFed itself clips, sums and adds the noise[/]; what it computes is its author's"
        if review.noised_here
        else "[green]byte-identical to the recipe of this installation[/]"
        if review.shipped
        else "[yellow]not a recipe of this installation: its cost is its author's word[/]"
    )
    console.print(
        Panel(
            f"from {request.sender}, received {when(request.received_at)}, {request.status}\n"
            f"recipe {request.proposal.recipe}: {badge}\n"
            f"sha256 {request.code_sha256}",
            title=f"Request {request.study}",
        )
    )
    table = Table("phase", "would release", "noise", title="What would leave this datasite")
    for phase in request.proposal.phases:
        table.add_row(
            phase.name,
            ", ".join(f"{spec.name}[{'x'.join(map(str, spec.shape))}]" for spec in phase.outputs),
            ", ".join(event.in_words() for event in phase.privacy_events()),
        )
    console.print(table)
    console.print(
        f"cost: epsilon [bold]{review.cost_epsilon:.3g}[/]; "
        f"held already {review.spent_epsilon:.3g}; "
        f"together {review.after_epsilon:.3g} of {review.budget.epsilon:g} "
        f"(delta {review.budget.delta:g})"
    )
    for finding in review.findings:
        place = f"{finding.file}:{finding.line}"
        console.print(f"  {finding.severity.name.lower()}: {place} {escape(finding.what)}")
    for problem in review.problems:
        console.print(f"  [red]cannot be approved:[/] {escape(problem)}")
    if review.difference:
        console.print(Syntax(review.difference, "diff"))
    if with_code:
        for path in sorted(request.code.rglob("*.py")):
            console.print(Syntax(path.read_text(), "python", line_numbers=True))
