"""A shopper who wants to be forgotten: her purchases go, and do not come back with the next file.

What was released before stays released, under the guarantee that it was released with: no release
tells whether she was ever here. A run that is under way has read its data and ends with it; later
runs do not see her. What the pages serve was learned from her too: it is removed with her, and
nothing is served until the blend was fitted again (`datasites.merchant.fit.refit`).
"""

from __future__ import annotations

import hmac
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant.home import MerchantHome
from datasites.merchant.lifeline import end_with_parent
from datasites.merchant.stale import data_turn, mark_stale, sweep_copies
from datasites.merchant.trouble import DISK_TROUBLES
from datasites.private import check_private_file, private_folder, read_private
from recsys.errors import ToyFedError
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = [
    "Forgotten",
    "finish_forgetting",
    "finish_in_own_process",
    "forget",
    "forget_all",
    "forgotten_stamp",
    "remembered",
    "take_back",
    "take_over",
    "who_was_forgotten",
]

_KEY, _LIST = "forget.key", "forgotten.txt"
_DISK = 64  # plus the error's number: how a process ends that met a full or read-only disk


def forget(home: MerchantHome, shopper_id: str) -> bool:
    """Take a shopper out of this datasite's purchases; whether she was there. See `forget_all`."""
    return forget_all(home, [shopper_id])[0]


def forget_all(home: MerchantHome, shopper_ids: Sequence[str]) -> list[bool]:
    """Take shoppers out of this datasite's purchases; for each, whether she was there.

    Ids are read as those of a file of purchases are: trimmed, and 7 may be written 7.0, as tables
    of numbers have it. They are kept as keyed hashes alone, so that a later file of purchases
    leaves them out. Doing it again changes nothing; a crash in the middle leaves the old purchases
    or the new ones. What is served was learned from them too, so nothing is until `refit` has been
    called.

    Privacy: stays at the merchant. Nothing is booked: the ledger's guarantee holds for whoever was
    here, and is not given back. No id is logged.
    Raises: DataError for damaged purchases, or for what cannot be an id; nobody is taken out then.
    """
    from recsys.data import read_catalogue, read_shop, write_shop

    asked = [_forms(one) for one in shopper_ids]
    with data_turn(home):
        sweep_copies(home)
        if not (home.data / "shop.parquet").exists():
            hashed = _hasher(home)
            _note(home, _hashes(home) | {hashed(form) for forms in asked for form in forms})
            return [False for _ in asked]
        catalogue, _ = read_catalogue(home.data / "catalogue.parquet")
        shop = read_shop(home.data / "shop.parquet", catalogue)
        here = shop.all.shopper_ids.astype(str)
        known = set(here.tolist())
        present = [[form for form in forms if form in known][:1] for forms in asked]
        going = np.isin(here, [form for forms in present for form in forms])
        if going.any():
            # First: whatever comes next, nothing that was learned from them is served any more.
            mark_stale(home)
        hashed = _hasher(home)
        noted = _hashes(home)
        # The other way of writing a number may be another shopper, who is here too.
        others = known.difference(*present)
        new = {hashed(form) for forms in asked for form in forms if form not in others} - noted
        if new:
            # Before the purchases: if this ends here, the next fit or run takes them out.
            _note(home, noted | new)
        if going.any():
            write_shop(home.data / "shop.parquet", shop.rows(~going), catalogue)
    return [bool(found) for found in present]


def take_back(home: MerchantHome, shopper_ids: Sequence[str]) -> list[bool]:
    """Forget that shoppers asked to be forgotten: later files keep them; whether each had asked.

    For customers who have come back. Their purchases are not: a file has to be added that has them.

    Raises: DataError for what cannot be an id.
    """
    asked = [_forms(one) for one in shopper_ids]
    with data_turn(home):
        noted = _hashes(home)
        if not noted:
            return [False for _ in asked]
        hashed = _hasher(home)
        found = [{hashed(form) for form in forms} & noted for forms in asked]
        left = noted.difference(*found)
        if left != noted:
            _note(home, left)
    return [bool(one) for one in found]


@dataclass(frozen=True, repr=False)
class Forgotten:
    """Who asked to be forgotten: keyed hashes, and their key. Privacy: stays at the merchant."""

    key: bytes
    hashes: frozenset[str]


def who_was_forgotten(home: MerchantHome) -> Forgotten:
    """Those of a datasite, to be taken over by the one that follows it.

    Raises: SettingsError if its list or key cannot be read.
    """
    hashes = _hashes(home)
    return Forgotten(_key(home) if hashes else b"", frozenset(hashes))


def take_over(home: MerchantHome, forgotten: Forgotten) -> None:
    """Leave out of a new datasite's purchases whom an earlier one forgot.

    Raises: SettingsError if this one has forgotten shoppers itself: under another key.
    """
    file = private_folder(home.private / "keys") / _KEY
    if file.exists() or (home.private / _LIST).exists():
        raise SettingsError("expected a new datasite, found one that has forgotten shoppers itself")
    if forgotten.hashes:
        atomic_write_bytes(file, forgotten.key, 0o600)
        _note(home, forgotten.hashes)


def _forms(shopper_id: str) -> list[str]:
    """An id as a file's reader would have it, and as it would if its column held numbers."""
    import pyarrow as pa

    from recsys.data.values import MOST_ID, as_ids
    from recsys.errors import DataError

    try:
        text, missing = as_ids(pa.array([shopper_id], type=pa.string()))
    except (UnicodeError, pa.ArrowException):
        raise DataError("expected a shopper's id as text in UTF-8, found other bytes") from None
    plain = str(text[0])
    if missing[0] or len(plain) > MOST_ID:
        raise DataError(
            f"expected a shopper's id of 1 to {MOST_ID} characters, found none or a longer one"
        )
    whole = re.fullmatch(r"(-?\d{1,18})(\.0+)?", plain)
    if whole is None:
        return [plain]
    return [plain, whole[1] if whole[2] else f"{plain}.0"]


def _note(home: MerchantHome, hashes: Iterable[str]) -> None:
    lines = "".join(f"{one}\n" for one in sorted(hashes))
    atomic_write_text(home.private / _LIST, lines, mode=0o600)


def finish_forgetting(home: MerchantHome) -> bool:
    """Take out whoever asked to be forgotten and is here all the same; whether somebody was.

    A crash may have come after the id was noted and before the purchases went.

    Privacy: stays at the merchant.
    Raises: DataError if the purchases are damaged.
    """
    from recsys.data import read_catalogue, read_shop, write_shop

    with data_turn(home):
        if not _hashes(home) or not (home.data / "shop.parquet").exists():
            return False
        sweep_copies(home)
        catalogue, _ = read_catalogue(home.data / "catalogue.parquet")
        shop = read_shop(home.data / "shop.parquet", catalogue)
        going = remembered(home, shop.all.shopper_ids.astype(str))
        if not going.any():
            return False
        mark_stale(home)
        write_shop(home.data / "shop.parquet", shop.rows(~going), catalogue)
    return True


def forgotten_stamp(home: MerchantHome) -> int:
    """When somebody last asked to be forgotten; 0 if nobody has."""
    try:
        return (home.private / _LIST).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def finish_in_own_process(home: MerchantHome) -> None:
    """`finish_forgetting` in a process of its own, so that the service stays small."""
    if not (home.private / _LIST).exists():
        return
    me = "datasites.merchant.forget"
    done = subprocess.run(
        [sys.executable, "-m", me, str(home.root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if (number := done.returncode - _DISK) in DISK_TROUBLES:
        raise OSError(number, "who asked to be forgotten could not be looked for")
    if done.returncode != 0:
        told = done.stdout.strip() or f"a process that ended with {done.returncode}"
        raise DatasiteError(f"expected to look for shoppers who asked to be forgotten; {told}")


def remembered(home: MerchantHome, shopper_ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Bool [n], which of these shoppers asked to be forgotten. Privacy: stays at the merchant."""
    known = _hashes(home)
    if not known:
        return np.array([False for _ in shopper_ids], dtype=bool)
    hashed = _hasher(home)
    return np.array([hashed(one) in known for one in shopper_ids], dtype=bool)


def _hasher(home: MerchantHome) -> Callable[[str], str]:
    key = _key(home)
    return lambda shopper_id: hmac.digest(key, shopper_id.encode(), "sha256").hex()


def _key(home: MerchantHome) -> bytes:
    file = private_folder(home.private / "keys") / _KEY
    check_private_file(file)
    if not file.exists():
        if (home.private / _LIST).exists():
            raise SettingsError(
                f"expected {_KEY} beside the other keys, found none: without it nobody can tell "
                "who asked to be forgotten. Put its copy back"
            )
        atomic_write_bytes(file, os.urandom(32), 0o600)
    return read_private(file, _whole_key, "Put its copy back.")


def _whole_key(data: bytes) -> bytes:
    if len(data) != 32:
        raise ValueError("another length")
    return data


def _hashes(home: MerchantHome) -> set[str]:
    try:
        return read_private(
            home.private / _LIST,
            lambda data: {str(bytes.fromhex(line).hex()) for line in data.decode().split()},
            "Put its copy back: it says who asked to be forgotten.",
        )
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    end_with_parent()
    try:
        finish_forgetting(MerchantHome.open(Path(sys.argv[1])))
    except ToyFedError as trouble:
        print(trouble)  # no id is in it
        sys.exit(1)
    except OSError as trouble:
        if trouble.errno not in DISK_TROUBLES:
            raise
        sys.exit(_DISK + trouble.errno)
