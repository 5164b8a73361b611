"""What both links do: list peers, check keys before trusting them, publish encrypted parcels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from datasites.errors import PeerError
from datasites.pairing import pairing_code
from datasites.share_options import read_options
from datasites.syftbox.clients import Party
from datasites.syftbox.hardening import check_shown_key, open_envelope
from datasites.syftbox.keys import readable, same_fingerprint
from datasites.syftbox.names import PARCEL_BYTES, check_email
from datasites.syftbox.store import ObjectStore
from datasites.syftbox.types import Peer

__all__ = [
    "MOCK_PREFIX",
    "PARCEL_FILE",
    "STATE_PREFIX",
    "check_peer",
    "check_request",
    "fetch",
    "key_to_compare",
    "open_store",
    "parcel_tag",
    "peers",
    "publish",
    "readable",
    "show_own_key",
    "show_own_key_again",
    "state_hash",
]

STATE_PREFIX = "toyfedstate"
MOCK_PREFIX = "toyfedmock"
PARCEL_FILE = "parcel"
_WHOLE = 64  # hexadecimal digits of a whole fingerprint


def open_store(home: Path, share: str) -> ObjectStore:
    """The share, signed in to as `home/private/share-options.toml` says."""
    return ObjectStore(share, options=read_options(Path(home) / "private", share))


def peers(party: Party) -> list[Peer]:
    """Known peers and requests, by e-mail, with what there is to compare."""
    book = party.book.all()
    found = {email: _described(party, email, facts) for email, facts in book.items()}
    for email in party.connection.get_peer_requests():
        if email not in found:
            found[email] = _described(party, email, {"state": "requested_by_peer"})
    return [found[email] for email in sorted(found)]


def show_own_key(party: Party, email: str) -> None:
    """Let somebody who asked to pair see this party's public key, so that both can compare."""
    bundle = {"public_encryption_bundle": party.engine.peer_manager.peer_store.get_public_bundle()}
    party.connection.write_encryption_bundle(email, json.dumps(bundle))


def show_own_key_again(party: Party) -> None:
    """Put this party's public key back where the share lost it, or shows another in its place."""
    for email in party.book.accepted():
        if party.connection.own_shown_fingerprint(email) != party.fingerprint:
            show_own_key(party, email)


def key_to_compare(party: Party, email: str) -> tuple[str, str]:
    """Whole fingerprint of a peer's pinned key, or else of the one shown, and the pairing code.

    Both are '' if there is no key yet. Raises PeerError if the share shows another key than the
    pinned one, or a bad one.
    """
    check_shown_key(party.connection, email)
    full = party.book.pinned(email)
    # A fingerprint that was read out pins its first half, until the key itself comes.
    if len(full) < _WHOLE:
        full = party.connection.shown_fingerprint(email)
        party.book.check_pin(email, full, party.book.pinned(email) if full else "")
    return full, _code(party, email, full)


def check_peer(party: Party, email: str) -> None:
    """Raise PeerError unless `email` is an accepted peer whose shown key is the pinned one."""
    state = party.book.state(check_email(email))
    if state != "accepted" or not party.book.has_key(email):
        found = {
            "requested_by_me": "that you asked and the words were not compared yet",
            "requested_by_peer": "that they asked and the words were not compared yet",
        }.get(state, state or "no request")
        raise PeerError(
            f"expected {email} to be paired, found {found}. `toyfed study pair {email}` shows how "
            "to go on"
        )
    check_shown_key(party.connection, email)


def check_request(party: Party, email: str, fingerprint: str | None) -> None:
    """Pin the key of somebody who asked to pair, if it may be; approval then takes no other.

    Raises PeerError if there is no request, no good key, or not the expected one.
    """
    if party.book.state(check_email(email)) == "accepted":
        check_shown_key(party.connection, email)
        return
    shown = party.connection.shown_fingerprint(email)
    if not shown or not party.connection.has_request(email):
        raise PeerError(f"expected a request to pair from {email}, found none. Let them send one")
    if fingerprint is not None and not same_fingerprint(fingerprint, shown):
        raise PeerError(
            f"the share shows another key for {email} than the one you compared. "
            "Do not approve it; ask them in person"
        )
    party.book.readmit(email)
    compared = fingerprint is not None
    party.book.expect(email, shown, state="requested_by_peer", compared=compared)


def parcel_tag(name: str, recipient: str) -> str:
    """A parcel's name in the share, which only says that there is one recipient more."""
    mark = hashlib.sha256(recipient.encode()).hexdigest()[:16]
    return f"{name.replace('_', '~')}~~{mark}"


def state_hash(name: str, recipient: str, sha256: str) -> str:
    """Where a state of that sha256 lies, computed by both sides, so that nothing is listed."""
    text = f"toyfed state\n{name}\n{recipient}\n{sha256}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def fetch(
    party: Party, prefix: str, tag: str, content_hash: str, owner: str, limit: int = PARCEL_BYTES
) -> bytes | None:
    """A published parcel, its owner's signature checked; None if it is not there.

    Only the parcel is read: whatever else lies in that folder may be of any number and size.
    Raises ReviewError if it was not signed by the owner's pinned key.
    """
    connection = party.connection
    key = connection.collection_file(prefix, tag, content_hash, owner, PARCEL_FILE)
    data = connection.store.get(key, limit)
    if data is None:
        return None
    return open_envelope(party.engine.peer_manager.peer_store, owner, data)


def publish(
    party: Party, prefix: str, name: str, recipient: str, parcel: bytes, content_hash: str
) -> None:
    """Put a parcel, encrypted to one accepted peer, in this party's folder of the share."""
    check_peer(party, recipient)
    if not party.engine.peer_manager.peer_store.has_peer_bundle(recipient):
        raise PeerError(f"expected a key of {recipient}, found none; sync and try again")
    tag = parcel_tag(name, recipient)
    engine = party.engine
    engine.create_collection_folder(prefix, tag, content_hash)
    engine.upload_collection_files(
        prefix, tag, content_hash, {PARCEL_FILE: parcel}, recipient_email=recipient
    )
    # Shared last, so that nobody finds a part of it.
    engine.share_collection(prefix, tag, content_hash, [recipient])


def _described(party: Party, email: str, facts: dict[str, Any]) -> Peer:
    state, pinned = str(facts.get("state", "")), str(facts.get("fingerprint", ""))
    verifies = True
    try:
        shown = party.connection.shown_fingerprint(email)
    except PeerError:
        shown, verifies = "", False
    if state == "rejected":
        # Compared anew, if at all: the words of the key that would be taken.
        return Peer(email, "revoked", readable(shown), _code(party, email, shown))
    same = same_fingerprint(*sorted((pinned, shown), key=len))
    if pinned and (not verifies or (shown and not same)):
        other = readable(shown) or "one that does not verify"
        return Peer(email, "key_changed", readable(pinned), "", other)
    full = pinned if len(pinned) == _WHOLE else shown
    compared = bool(facts.get("compared"))
    return Peer(
        email, state, readable(pinned or shown), _code(party, email, full), compared=compared
    )


def _code(party: Party, email: str, full: str) -> str:
    return pairing_code(party.email, party.fingerprint, email, full) if full else ""
