"""A party's own key pair, and fingerprints to compare before trusting somebody else's."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import syft_crypto_python as crypto
from syft.sync.peers.peer_store import PeerStore

from datasites.errors import PeerError, SettingsError
from datasites.private import check_private_file, private_folder
from recsys.files import atomic_write_bytes

__all__ = ["ensure_keys", "fingerprint_of", "readable", "same_fingerprint"]


def ensure_keys(path: Path, email: str) -> str:
    """Make the key file if there is none; returns the identity fingerprint (64 hex digits).

    A file that others could read is closed to them. Raises SettingsError if it is damaged, belongs
    to another e-mail or another user, or is a link.
    """
    private_folder(path.parent)
    check_private_file(path)
    if not path.exists():
        fresh = PeerStore(email=email, use_encryption=True)
        fresh.generate_keys()
        # PySyft writes keys readable by everyone: written in a private folder, then put in place
        # whole, so that a crash leaves no half key.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
            draft = Path(folder) / path.name
            fresh.save_keys(draft)
            # Another process of the same merchant may have been first: its keys stay.
            complete = Path(folder) / "complete.json"
            atomic_write_bytes(complete, draft.read_bytes(), mode=0o600)
            with contextlib.suppress(FileExistsError):
                os.link(complete, path)
    check_private_file(path)
    try:
        owner = json.loads(path.read_text())["email"]
        store = PeerStore.load_keys(path)
    except Exception as error:
        raise SettingsError(
            f"expected {path.name} to hold this party's keys, found a damaged file. Restore it "
            "from a backup; with new keys every peer must pair again"
        ) from error
    if owner != email:
        raise SettingsError(f"expected {path.name} to hold the keys of {email}, found {owner}'s")
    return str(store.public_key.identity_fingerprint())


def fingerprint_of(bundle: dict[str, Any], email: str) -> str:
    """Identity fingerprint of a public key document, after checking that it signs its own parts.

    Raises PeerError if the document is damaged, badly signed, or made for somebody else.
    """
    try:
        if bundle["id"] != f"did:syft:{email}":
            raise ValueError("made for another party")
        keys = crypto.SyftPublicKeyBundle.from_did_document(bundle)
        if keys.verify_signatures() is False:
            raise ValueError("bad signature")
        return str(keys.identity_fingerprint())
    except Exception as error:
        raise PeerError(
            f"expected a key signed by {email}, found one that does not verify. Ask {email} to "
            "request the pairing again"
        ) from error


def readable(fingerprint: str) -> str:
    """The first 32 of 64 digits in groups of four, short enough to read aloud on the phone."""
    return " ".join(
        fingerprint[start : start + 4] for start in range(0, min(32, len(fingerprint)), 4)
    )


def same_fingerprint(given: str, full: str) -> bool:
    """Tell whether what a person typed is the fingerprint `full` (readable form or all digits)."""
    digits = "".join(given.lower().split())
    return len(digits) >= 32 and full.startswith(digits)
