"""Who may send requests: keys compared by people, decided by the merchant, booked in the ledger.

One process owns PySyft's folder (the service), so command line and console only book a decision.
A revocation counts from the moment it is booked: the ledger refuses runs and releases of that peer
in the same step, and the service asks it before it takes or sends anything. The rest, PySyft's peer
list, follows on the service's next pass, if the peer still shows the key decided on.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from datasites.errors import PeerError, ReviewError, SettingsError
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.merchant.ledger.books import PEER_APPROVED, PEER_REVOKED
from datasites.pairing import check_pairing_code
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    from datasites.syftbox import MerchantLink

__all__ = ["approve", "carry_out", "is_revoked", "revoke", "seen", "to_compare"]

log = structlog.get_logger()


def approve(
    home: MerchantHome,
    ledger: Ledger,
    email: str,
    fingerprint: str | None = None,
    *,
    code: str | None = None,
    by: str,
) -> None:
    """Trust a peer whose pairing code, or fingerprint, was compared out of band.

    Args:
        fingerprint: The peer's, as it was read out; 32 digits in groups of four.
        code: The pairing code's twelve words instead, as the peer read them out.

    Approving again what stands approved changes nothing.

    Raises PeerError if the peer has not asked yet, or what was read out is not what is shown here.
    """
    peer = _who_asks(home, ledger, email)
    shown, words = peer["fingerprint"], peer.get("code", "")
    if code is not None:
        if not words:
            raise PeerError(
                f"expected a pairing code with {email}, found none yet: waiting for their key. "
                "Is `toyfed datasite serve` running?"
            )
        check_pairing_code(code, words)
    elif fingerprint is None:
        raise PeerError(to_compare(home, ledger, email))
    elif _digits(fingerprint) != _digits(shown):
        raise PeerError(
            f"{email} shows the fingerprint {shown}, not the one you gave. Do not approve: "
            "somebody may stand between you."
        )
    if ledger.peers().get(email) == shown:
        return
    how = "pairing code" if code is not None else "fingerprint"
    ledger.note(PEER_APPROVED, {"email": email, "fingerprint": shown, "by": by, "compared": how})


def to_compare(home: MerchantHome, ledger: Ledger, email: str) -> str:
    """What two people compare before the merchant trusts this peer, and how it goes on.

    Raises PeerError if the peer has not asked yet, or shows another key than before.
    """
    peer = _who_asks(home, ledger, email)
    return (
        f"your pairing code with {email} is: {peer.get('code') or '(waiting for their key)'}. Let "
        "them read theirs to you by phone, and approve with --code and the words that you HEARD. "
        f"(Or compare the fingerprint {peer['fingerprint']} and approve with --fingerprint "
        f"'{peer['fingerprint']}'.)"
    )


def _who_asks(home: MerchantHome, ledger: Ledger, email: str) -> dict[str, Any]:
    peers: dict[str, dict[str, Any]] = {peer["email"]: peer for peer in seen(home, ledger)["peers"]}
    if email not in peers:
        raise PeerError(
            f"expected a pairing request from {email}, found "
            f"{', '.join(sorted(peers)) if peers else 'none'}. Is `toyfed datasite serve` running, "
            "and has the other side run `toyfed study pair`?"
        )
    peer = peers[email]
    if peer["state"] == "key_changed":
        raise PeerError(
            f"{email} shows another key than the one you paired with. Ask them in person; only if "
            f"they did make a new key: `toyfed datasite pair {email} --revoke`, then pair again."
        )
    if not peer["fingerprint"]:
        raise PeerError(
            f"expected a key of {email}, found none yet: waiting for their key. Let them run "
            "`toyfed study pair` again, and try once more."
        )
    return peer


def revoke(home: MerchantHome, ledger: Ledger, email: str, *, by: str) -> None:
    """Stop trusting a peer at once: nothing of it runs, is taken or leaves from here on.

    A run under way is ended; what it cost stays spent. Approvals of its studies are taken back and
    its waiting requests are rejected, so that pairing again starts from nothing.

    Raises PeerError if the peer was never heard of here.
    """
    known = {request.sender for request in ledger.requests()} | set(ledger.peers())
    if email not in known | {peer["email"] for peer in seen(home, ledger)["peers"]}:
        raise PeerError(
            f"expected a peer to revoke, found none called {email[:80]!r}. "
            "`toyfed datasite pair` lists them."
        )
    ledger.note(PEER_REVOKED, {"email": email, "by": by})
    _end_studies(ledger, email, by)


def is_revoked(ledger: Ledger, email: str) -> bool:
    """Whether the merchant's last decision about a peer was to stop hearing it."""
    return ledger.peers().get(email) == ""


def carry_out(home: MerchantHome, ledger: Ledger, link: MerchantLink) -> None:
    """Apply the booked decisions to PySyft's peer list and write down who is there."""
    decided = ledger.peers()
    found = link.peers()
    changed = False
    for peer in found:
        wanted = decided.get(peer.email)
        if wanted is None:
            continue
        if wanted and wanted == peer.fingerprint and peer.state in ("requested_by_peer", "revoked"):
            # By name, for the share may show another key by now.
            link.approve_peer(peer.email, wanted)
            changed = True
        elif peer.state != "revoked" and (
            # Also where the list of peers was put back from a copy with an older key.
            not wanted or (peer.state == "accepted" and wanted != peer.fingerprint)
        ):
            # A crash may have come between the decision and what follows from it.
            _end_studies(ledger, peer.email, "the service")
            link.revoke_peer(peer.email)
            changed = True
    if changed:
        found = link.peers()
    facts = {
        "own_fingerprint": link.own_fingerprint,
        "peers": [
            {
                "email": peer.email,
                "state": peer.state,
                "fingerprint": peer.fingerprint,
                "code": peer.code,
                "shown_now": peer.shown_now,
            }
            for peer in found
        ],
    }
    text = json.dumps(facts)
    file = home.private / "peers.json"
    asked_before = _asked(file)
    for peer in found:
        if peer.state == "requested_by_peer" and peer.email not in asked_before:
            log.info("somebody asks to pair: toyfed datasite pair", peer=peer.email)
    if not file.exists() or file.read_bytes() != text.encode():
        atomic_write_text(file, text, mode=0o600)


def _asked(file: Path) -> set[str]:
    """Who had asked when the list was last written; a damaged list only costs a line in the log."""
    try:
        listed = json.loads(file.read_bytes())["peers"]
        return {one["email"] for one in listed if one["state"] == "requested_by_peer"}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def seen(home: MerchantHome, ledger: Ledger) -> dict[str, Any]:
    """Peers as the service last saw them.

    {"own_fingerprint", "peers": [{email, state, fingerprint, code, shown_now}]}; `shown_now` is
    the other key's fingerprint where the state is key_changed, else "".
    """
    file = home.private / "peers.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        listed = [dict(peer) for peer in found["peers"]]
        own = str(found["own_fingerprint"])
    except FileNotFoundError:
        own, listed = "(start the service once to make keys)", []
    except (ValueError, KeyError, TypeError, IsADirectoryError, PermissionError):
        raise SettingsError(
            f"expected {file.name} to hold a list of peers, found a damaged file. Remove it: the "
            "service writes it anew, and approvals are in the ledger."
        ) from None
    decided = ledger.peers()
    for peer in listed:
        wanted = decided.get(peer["email"])
        if wanted == "":
            peer["state"] = "revoked"
        elif (
            wanted
            and wanted == peer["fingerprint"]
            and peer["state"]
            in (
                "requested_by_peer",
                "revoked",
            )
        ):
            peer["state"] = "approved, at the next pass"
    return {"own_fingerprint": own, "peers": listed}


def _end_studies(ledger: Ledger, email: str, by: str) -> None:
    for request in ledger.requests():
        if request.sender != email:
            continue
        # Decided, expired or ended meanwhile: as good.
        with contextlib.suppress(ReviewError):
            if request.state == "waiting":
                ledger.reject(request.request_id, "the peer was revoked", by)
            elif request.state == "approved":
                ledger.revoke(request.study, by)


def _digits(fingerprint: str) -> str:
    return "".join(fingerprint.lower().split())
