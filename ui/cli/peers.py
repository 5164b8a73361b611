"""`toyfed datasite pair` and `toyfed datasite quarantine`, and how both sides list their peers."""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ui.cli.console import DatasiteHomeOption, JsonOption, console, emit, guarded

__all__ = ["pair", "print_peers", "quarantine"]

HOME = Path("toyfed-datasite")


@guarded
def pair(
    email: Annotated[str | None, typer.Argument(help="The peer to approve.")] = None,
    code: Annotated[
        str | None,
        typer.Option(help="The twelve words of the pairing code, as the peer read them to you."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="Instead: the peer's key, as it was read to you.")
    ] = None,
    revoke: Annotated[
        bool, typer.Option(help="Stop trusting this peer, at once: its runs end, nothing leaves.")
    ] = False,
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """List peers and the code to compare with each; approve one after comparing it by phone.

    Both of you see the same twelve words, if nobody stands between you. Let the peer read its
    words, and type the words that you hear.
    """
    from datasites.merchant import Ledger, MerchantHome
    from datasites.merchant import peers as merchant_peers

    opened = MerchantHome.open(home)
    ledger = Ledger.open(opened.ledger_path)
    by = getpass.getuser()
    if email is None and (code or fingerprint or revoke):
        raise typer.BadParameter("expected the peer's e-mail before the options")
    if email is not None:
        if revoke:
            merchant_peers.revoke(opened, ledger, email, by=by)
        elif code is None and fingerprint is None:
            told = merchant_peers.to_compare(opened, ledger, email)
            console.print(escape(told[:1].upper() + told[1:]), highlight=False)
            return
        else:
            merchant_peers.approve(opened, ledger, email, fingerprint, code=code, by=by)
    seen = merchant_peers.seen(opened, ledger)
    if json_output:
        emit(seen)
        return
    print_peers("Peers of this datasite", seen["peers"], "toyfed datasite pair")
    console.print(f"Your own fingerprint: {seen['own_fingerprint']}", highlight=False)


@guarded
def quarantine(
    show: Annotated[
        str | None, typer.Option(metavar="ID", help="Show the beginning of this message.")
    ] = None,
    clear: Annotated[bool, typer.Option(help="Remove everything that is kept.")] = False,
    home: DatasiteHomeOption = HOME,
    json_output: JsonOption = False,
) -> None:
    """List messages that broke a rule: when, from whom, why. They were not acted on."""
    from datasites.merchant import MerchantHome, refused

    kept = refused.quarantine(MerchantHome.open(home))
    if clear:
        console.print(f"Removed {kept.clear()} entries.")
        return
    if show is not None:
        typer.echo(kept.preview(show))
        return
    entries = kept.entries()
    if json_output:
        emit([vars(entry) for entry in entries])
        return
    if not entries:
        console.print("Nothing is in quarantine.")
        return
    table = Table("ID", "when", "from", "why", "bytes", "sha256", title="Quarantine, newest first")
    for entry in entries:
        cells = (entry.id, entry.at[:19], entry.sender, entry.reason, f"{entry.size:,}")
        table.add_row(*map(escape, cells), escape(entry.sha256[:12]))
    console.print(table)
    console.print("Nothing of this was acted on. --show ID shows a message, --clear removes all.")


_STATES = {
    "requested_by_me": "you asked",
    "requested_by_peer": "asks to pair",
    "accepted": "paired",
    "revoked": "revoked",
}


def print_peers(title: str, peers: Iterable[Mapping[str, Any]], command: str) -> None:
    """A table of peers, the code to compare with each, and what to do where a key changed."""
    table = Table("peer", "state", "pairing code, the same on both screens", title=title)
    changed = []
    for peer in peers:
        words = str(peer.get("code", "")).split()
        lines = [" ".join(words[at : at + 4]) for at in range(0, len(words), 4)]
        state = str(peer["state"])
        told = _STATES.get(state, state)
        if state == "key_changed":
            changed.append(peer)
            told, lines = "[bold red]KEY CHANGED[/]", ["nothing is exchanged; see below"]
        elif peer.get("compared"):
            told = f"{told}, compared"
        table.add_row(str(peer["email"]), told, "\n".join(lines) or "waiting for their key")
    console.print(table)
    for peer in changed:
        email = peer["email"]
        console.print(
            f"[bold red]THE KEY OF {escape(str(email))} IS NOT THE ONE YOU PAIRED WITH.[/]\n"
            f"  paired with  {peer['fingerprint']}\n"
            f"  shown now    {peer.get('shown_now', '')}\n"
            "  Somebody may be posing as them. Ask them in person. Only if they made a new key:\n"
            f"  {command} {email} --revoke, then pair again.",
            highlight=False,
        )
