"""Who may send requests: pinned fingerprints, decided by the merchant, booked in the ledger.

One process owns PySyft's folder (the service), so command line and console only book a decision;
the service carries it out on its next pass, if the peer still shows the fingerprint decided on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from datasites.errors import PeerError
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    from datasites.syftbox import MerchantLink

__all__ = ["approve", "carry_out", "revoke", "seen"]

_APPROVED, _REVOKED = "peer-approved", "peer-revoked"


def approve(
    home: MerchantHome, ledger: Ledger, email: str, fingerprint: str | None, *, by: str
) -> None:
    """Trust a peer whose fingerprint was compared out of band.

    Raises PeerError if the peer has not asked yet, or shows another fingerprint than the one given.
    """
    peers = {peer["email"]: peer for peer in seen(home, ledger)["peers"]}
    if email not in peers:
        raise PeerError(
            f"expected a pairing request from {email}, found "
            f"{', '.join(sorted(peers)) if peers else 'none'}. Is `toyfed datasite serve` running, "
            "and has the other side run `toyfed study pair`?"
        )
    shown = peers[email]["fingerprint"]
    if fingerprint is None:
        raise PeerError(
            f"{email} shows the fingerprint {shown}. Compare it with what they read to you by "
            f"phone, then approve with --fingerprint '{shown}'."
        )
    if fingerprint.strip().lower() != shown.strip().lower():
        raise PeerError(
            f"{email} shows the fingerprint {shown}, not the one you gave. Do not approve: "
            "somebody may stand between you."
        )
    ledger.note(_APPROVED, {"email": email, "fingerprint": shown, "by": by})


def revoke(ledger: Ledger, email: str, *, by: str) -> None:
    """Stop trusting a peer: its requests are quarantined from the next pass on."""
    ledger.note(_REVOKED, {"email": email, "by": by})


def carry_out(home: MerchantHome, ledger: Ledger, link: MerchantLink) -> None:
    """Apply the booked decisions to PySyft's peer list and write down who is there."""
    decided = _decisions(ledger)
    for peer in link.peers():
        wanted = decided.get(peer.email)
        if wanted is None:
            continue
        if wanted and wanted == peer.fingerprint and peer.state != "accepted":
            link.approve_peer(peer.email)
        elif not wanted and peer.state == "accepted":
            link.revoke_peer(peer.email)
    found = {
        "own_fingerprint": link.own_fingerprint,
        "peers": [
            {"email": peer.email, "state": peer.state, "fingerprint": peer.fingerprint}
            for peer in link.peers()
        ],
    }
    text = json.dumps(found)
    file = home.private / "peers.json"
    if not file.exists() or file.read_text() != text:
        atomic_write_text(file, text, mode=0o600)


def seen(home: MerchantHome, ledger: Ledger) -> dict[str, Any]:
    """Peers as the service last saw them: {"own_fingerprint", "peers": [{email, state, ...}]}."""
    try:
        found: dict[str, Any] = json.loads((home.private / "peers.json").read_text())
    except FileNotFoundError:
        return {"own_fingerprint": "(start the service once to make keys)", "peers": []}
    decided = _decisions(ledger)
    for peer in found["peers"]:
        if decided.get(peer["email"]) == "":
            peer["state"] = "revoked"
        elif decided.get(peer["email"]) == peer["fingerprint"] and peer["state"] != "accepted":
            peer["state"] = "approved, at the next pass"
    return found


def _decisions(ledger: Ledger) -> dict[str, str]:
    """Last decision per peer: its approved fingerprint, or "" when revoked."""
    decided: dict[str, str] = {}
    for entry in ledger.entries():
        if entry.kind == _APPROVED:
            decided[str(entry.body["email"])] = str(entry.body["fingerprint"])
        elif entry.kind == _REVOKED:
            decided[str(entry.body["email"])] = ""
    return decided
