"""A shopper who wants to be forgotten: her purchases go, and do not come back with the next file.

What was released before stays released, under the guarantee that it was released with: no release
tells whether she was ever here. A run that is under way has read its data and ends with it; later
runs do not see her. What the pages serve was learned from her too: it is removed with her, and
nothing is served until the blend was fitted again (`datasites.merchant.fit.refit`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant.home import MerchantHome
from datasites.merchant.lifeline import end_with_parent
from datasites.merchant.stale import data_turn, mark_stale
from datasites.merchant.trouble import DISK_TROUBLES
from datasites.private import check_private_file, private_folder, read_private
from recsys.errors import ToyFedError
from recsys.files import atomic_write_bytes, atomic_write_text

if TYPE_CHECKING:
    from recsys.data import Catalogue, Shop

__all__ = ["finish_forgetting", "finish_in_own_process", "forget", "forgotten_stamp", "remembered"]

_KEY, _LIST = "forget.key", "forgotten.txt"
_DISK = 64  # plus the error's number: how a process ends that met a full or read-only disk


def forget(home: MerchantHome, shopper_id: str) -> bool:
    """Take a shopper out of this datasite's purchases; whether she was there.

    Her id is kept as a keyed hash alone, so that a later file of purchases leaves her out. Doing
    it again changes nothing; a crash in the middle leaves the old purchases or the new ones. What
    is served was learned from her too, so nothing is until `refit` has been called.

    Privacy: stays at the merchant. Nothing is booked: the ledger's guarantee holds for whoever was
    here, and is not given back. No id is logged.
    Raises: DataError if there are no purchases, or damaged ones.
    """
    from recsys.data import read_catalogue, read_shop

    with data_turn(home):
        catalogue, _ = read_catalogue(home.data / "catalogue.parquet")
        shop = read_shop(home.data / "shop.parquet", catalogue)
        hashed = _hash(home, shopper_id)
        known = _hashes(home)
        if hashed not in known:
            # First: if this ends here, the next file of purchases still leaves her out.
            lines = "\n".join(sorted(known | {hashed})) + "\n"
            atomic_write_text(home.private / _LIST, lines, mode=0o600)
        going = shop.all.shopper_ids.astype(str) == shopper_id
        if not going.any():
            return False
        _take_out(home, shop, going, catalogue)
    return True


def finish_forgetting(home: MerchantHome) -> bool:
    """Take out whoever asked to be forgotten and is here all the same; whether somebody was.

    A crash may have come after the id was noted and before the purchases went.

    Privacy: stays at the merchant.
    Raises: DataError if the purchases are damaged.
    """
    from recsys.data import read_catalogue, read_shop

    with data_turn(home):
        if not _hashes(home) or not (home.data / "shop.parquet").exists():
            return False
        catalogue, _ = read_catalogue(home.data / "catalogue.parquet")
        shop = read_shop(home.data / "shop.parquet", catalogue)
        going = remembered(home, shop.all.shopper_ids.astype(str))
        if not going.any():
            return False
        _take_out(home, shop, going, catalogue)
    return True


def _take_out(
    home: MerchantHome, shop: Shop, going: npt.NDArray[np.bool_], catalogue: Catalogue
) -> None:
    from recsys.data import write_shop

    mark_stale(home)
    write_shop(home.data / "shop.parquet", shop.rows(~going), catalogue)


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
    return np.array([bool(known) and _hash(home, one) in known for one in shopper_ids], dtype=bool)


def _hash(home: MerchantHome, shopper_id: str) -> str:
    return hmac.new(_key(home), shopper_id.encode(), hashlib.sha256).hexdigest()


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
