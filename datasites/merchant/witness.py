"""The ledger's end, remembered outside the merchant's home, so that a restored backup is noticed.

A witness is a small sealed object in the merchant's own folder on the share and, where the merchant
names them (`head_copies`), in other folders such as one on a stick. It holds the number and hash of
the ledger's last entry and what all of it had cost. Sealed with a key of this merchant's alone,
nobody else can read or forge it. One is written before any release leaves, so that a witness is at
least as new as whatever left. A ledger that lacks what a witness saw is an older copy: nothing
runs.

A datasite that begins anew under an address whose witness another ledger sealed does not run: a
second home, made by mistake, would give its shoppers their whole budget again.

What the share's owner can do is to hold a witness back, or to show an old one. An old one says less
than the ledger knows and raises no alarm. A missing one is noted and written anew: refusing to run
would let anybody who may delete there stop a merchant for ever. Whoever does not trust the share
with this keeps a second copy; one that remembers more than the ledger is enough to stop.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from datasites.errors import RestoredError, SettingsError, TransportError
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger, Sighting
from datasites.private import check_private_file, private_folder
from recsys.errors import ToyFedError
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = ["STARTED_ANEW", "Witnesses", "written_places"]

log = structlog.get_logger()

STARTED_ANEW = "started anew"
"""Note by which the merchant says that a witness of another datasite may be written over."""
_MOST_BYTES = 1 << 20
_BLOCK = 16 * 1024
_NONCE = 12
_KEY = "witness.key"
_SHARE = "the share"


class Place(Protocol):
    """Where objects can be kept under a name (`datasites.syftbox.store.ObjectStore` is one)."""

    def get(self, key: str, limit: int) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


class Witnesses:
    """All places that remember this merchant's ledger.

    Args:
        home: The merchant's home; the sealing key is kept beside its private keys.
        places: Name for people and way to open each place.
        said: What was told already; one that is kept longer than this says nothing twice.
    """

    def __init__(
        self,
        home: MerchantHome,
        ledger: Ledger,
        places: dict[str, Callable[[], Place]] | None = None,
        said: set[tuple[str, str]] | None = None,
    ) -> None:
        self._ledger = ledger
        self._email = home.settings.email
        self._key_file = private_folder(home.private / "keys") / _KEY
        self._places = _places(home) if places is None else places
        self._open: dict[str, Place] = {}
        self._written_file = _written_file(home)
        self._addresses = _written_at(home)
        self._written = set(self._addresses)
        self._tried = ""
        self._said: set[tuple[str, str]] = set() if said is None else said

    def check(self) -> None:
        """Look at every witness that can be reached; others are told of in the log.

        Raises: RestoredError if the ledger lacks what one of them saw, or is new where another's
            was.
        """
        for name in self._places:
            self._look(name)

    def keep(self) -> None:
        """Bring every witness up to date, after a look at it.

        Raises:
            RestoredError: the ledger lacks what one of them saw.
            TransportError: none of them can be written now.
        """
        reached = 0
        for name in self._places:
            seen, usable = self._look(name)
            now = self._ledger.sighting()
            if seen == now:
                reached += 1
            elif usable:
                reached += self._write(name, now)
        if not reached:
            raise TransportError(
                "the ledger's end could not be remembered anywhere: expected to write to one of "
                f"{', '.join(self._places)}. Nothing leaves until one of them can be reached"
            )

    def keep_if_moved(self) -> None:
        """`keep`, if anything was booked since a place was last seen or written; as far as it can.

        Raises: RestoredError if the ledger lacks what one of the places saw.
        """
        last = self._ledger.sighting().hash
        if last != self._tried:
            self._tried = last
            # Before a release leaves it must succeed; until then the next booking tries again.
            with contextlib.suppress(TransportError):
                self.keep()

    def seen(self) -> list[Sighting]:
        """What the witnesses that can be reached remember."""
        found = [self._read(name)[0] for name in self._places]
        return [one for one in found if one is not None]

    def _look(self, name: str) -> tuple[Sighting | None, bool]:
        seen, usable = self._read(name)
        if seen is not None and self._ledger.lacks(seen):
            raise RestoredError(
                f"The ledger lacks entry {seen.seq}, which {name} remembers: an older copy was put "
                "in its place, and what was spent since would be forgotten. Nothing runs. Put the "
                "newest ledger back, with its head file; if it is lost, `toyfed datasite ledger "
                "accept-restore --by YOU` books what the lost entries had cost and goes on."
            )
        return seen, usable

    def _read(self, name: str) -> tuple[Sighting | None, bool]:
        """What a place remembers, and whether it can be reached."""
        try:
            sealed = self._place(name).get(self._object, _MOST_BYTES)
        except (ToyFedError, OSError):
            self._say(name, "cannot be reached")
            return None, False
        if sealed is None:
            if name in self._written:
                self._say(name, "lost what it remembered; it is written anew", booked=True)
            return None, True
        self._is_there(name)
        seen = self._unseal(sealed)
        if seen is None:
            self._refuse_another(name)
            what = "holds something that is not this datasite's; it is written anew"
            self._say(name, what, booked=name in self._written)
        return seen, True

    def _refuse_another(self, name: str) -> None:
        """A ledger that has never begun must not push that of another datasite aside."""
        if self._written or self._ledger.runs() or self._ledger.spent_ever().epsilon > 0:
            return  # known here already: anybody may write there, which is no reason to stop
        if any(entry.kind == STARTED_ANEW for entry in self._ledger.entries()):
            return
        raise RestoredError(
            f"Expected {name} to hold nothing yet of {self._email}, found what another datasite of "
            "this address remembers of its ledger. Nothing runs. If that was yours, export its "
            "ledger and begin with `toyfed datasite init ... --spent-before FILE`: otherwise what "
            "these shoppers have spent is forgotten. If nobody of its shoppers is here, `toyfed "
            "datasite ledger start-anew --by YOU` goes on and writes over it."
        )

    def _write(self, name: str, now: Sighting) -> bool:
        try:
            self._place(name).put(self._object, self._seal(now))
        except (ToyFedError, OSError):
            self._say(name, "cannot be written")
            return False
        self._is_there(name)
        address = _address(self._open[name])
        if name not in self._written or self._addresses.get(name) != address:
            self._written.add(name)
            self._addresses[name] = address
            # On a full disk only a later warning is lost.
            with contextlib.suppress(OSError):
                kept = json.dumps(self._addresses, sort_keys=True)
                atomic_write_text(self._written_file, kept, mode=0o600)
        return True

    def _say(self, name: str, what: str, *, booked: bool = False) -> None:
        """Tell it once, and put what may hide a restore where the merchant looks for it later."""
        if (name, what) in self._said:
            return
        self._said.add((name, what))
        log.warning("witness of the ledger", place=name, problem=what)
        if booked:
            self._ledger.note("witness missing", {"place": name, "problem": what})

    @property
    def _object(self) -> str:
        return f"{self._email}/ledger-witness"

    def _is_there(self, name: str) -> None:
        """From now on a folder that is gone or empty is away, and not a place to begin anew in."""
        must_be_there = getattr(self._open.get(name), "must_be_there", None)
        if must_be_there is not None:
            must_be_there()

    def _place(self, name: str) -> Place:
        if name not in self._open:
            place = self._open[name] = self._places[name]()
            where = _address(place)
            if name == _SHARE and where and where == self._addresses.get(name):
                # A share that is not mounted is away; it has not lost anything.
                self._is_there(name)
        return self._open[name]

    def _seal(self, sighting: Sighting) -> bytes:
        nonce = os.urandom(_NONCE)
        text = json.dumps(sighting.to_dict()).encode()
        # Anybody who can list the share sees its size: not how many digits the numbers have.
        text = text.ljust(-(-len(text) // _BLOCK) * _BLOCK)
        sealed: bytes = self._cipher().encrypt(nonce, text, self._email.encode())
        return nonce + sealed

    def _unseal(self, sealed: bytes) -> Sighting | None:
        from cryptography.exceptions import InvalidTag

        try:
            text = self._cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], self._email.encode())
        except (InvalidTag, ValueError):
            return None  # anybody may write there: no reason to stop
        return Sighting.from_dict(json.loads(text))

    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        check_private_file(self._key_file)
        try:
            key = self._key_file.read_bytes()
        except FileNotFoundError:
            if self._written:
                lost = "was lost and is made anew: what was sealed with it cannot be read"
                self._say(_KEY, lost, booked=True)
            key = ChaCha20Poly1305.generate_key()
            atomic_write_bytes(self._key_file, key, 0o600)
        if len(key) != 32:
            raise SettingsError(
                f"expected 32 bytes in {_KEY}, found {len(key)}. Put its copy back; without one, "
                "remove it: the witnesses are then written anew, and cannot show an older ledger "
                "until they are"
            )
        return ChaCha20Poly1305(key)


def _written_file(home: MerchantHome) -> Path:
    return home.private / "witnessed.json"


def written_places(home: MerchantHome) -> set[str]:
    """Where a witness was written before; a file that cannot be read only costs a warning."""
    return set(_written_at(home))


def _written_at(home: MerchantHome) -> dict[str, str]:
    """Name of each place that a witness was written to, and that place's address then."""
    try:
        found = json.loads(_written_file(home).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if isinstance(found, list):  # as earlier versions wrote it, without addresses
        return {name: "" for name in found if isinstance(name, str)}
    if not isinstance(found, dict):
        return {}
    return {name: where for name, where in found.items() if isinstance(where, str)}


def _address(place: Place) -> str:
    return str(getattr(place, "address", ""))


def _places(home: MerchantHome) -> dict[str, Callable[[], Place]]:
    from datasites.syftbox.exchange import open_store

    def folder(where: str, *, made: bool) -> Callable[[], Place]:
        def opened() -> Place:
            # A stick that is not plugged in must not be made as a folder on the disk.
            if not made and "://" not in where and not Path(where).is_dir():
                raise TransportError("expected the folder of a copy of the ledger's end")
            return open_store(home.root, where)

        return opened

    places = {_SHARE: folder(home.settings.share, made=True)}
    for number, where in enumerate(home.settings.head_copies, 1):
        places[f"copy {number}"] = folder(where, made=False)
    return places
