"""API keys of one shop: a private file that holds hashes alone.

A key reads `tfk_ID_SECRET`. ID names it in lists; SECRET is 256 random bits, shown once.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datasites.merchant.home import MerchantHome
from datasites.wrong_settings import wrong_settings
from recsys.files import atomic_write_text
from ui.errors import DoorError
from ui.web.doors.store import hash_of

__all__ = ["ApiKey", "KeyRing", "split_key"]

PREFIX = "tfk"
MOST_KEYS = 100
MOST_BYTES = 200_000


class ApiKey(BaseModel):
    """One key, as the file keeps it.

    Args:
        shoppers: whether it may ask for a shopper of the shop by id.
        per_second: questions on average; twice as many at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    label: Annotated[str, Field(max_length=60)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    shoppers: bool = False
    per_second: Annotated[float, Field(gt=0, le=100_000)] = 50.0
    made: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[ApiKey, ...] = ()


class KeyRing:
    """The keys of one merchant; the file is read again when it changes."""

    def __init__(self, home: MerchantHome) -> None:
        self.home = home
        self.path = home.private / "api-keys.json"
        self._stamp: tuple[int, int, int] | None = None
        self._keys: tuple[ApiKey, ...] = ()

    def new(self, label: str, *, shoppers: bool = False, per_second: float = 50.0) -> str:
        """Make a key and return it: the only time that it is seen."""
        keys = self.keys()
        if len(keys) >= MOST_KEYS:
            raise DoorError(
                f"expected fewer than {MOST_KEYS} keys, found that many. Revoke some that are not "
                "used any more."
            )
        identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        try:
            key = ApiKey(
                id=identity,
                label=label,
                sha256=hash_of(secret),
                shoppers=shoppers,
                per_second=per_second,
                made=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        except ValidationError as error:
            raise DoorError(
                f"expected a usable key, found: {wrong_settings(error)}. Choose others."
            ) from None
        self._write((*keys, key))
        return f"{PREFIX}_{identity}_{secret}"

    def revoke(self, identity: str) -> None:
        """End a key; the page refuses it from its next question on. Raises DoorError."""
        keys = self.keys()
        kept = tuple(key for key in keys if key.id != identity)
        if len(kept) == len(keys):
            raise DoorError(
                "expected the id of a key of this shop, found none of that name. "
                "`toyfed web key list` shows them."
            )
        self._write(kept)

    def keys(self) -> tuple[ApiKey, ...]:
        """All keys. Raises DoorError if the file is damaged, a link, or readable by others."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self._stamp, self._keys = None, ()
            return ()
        except OSError as error:
            raise DoorError(
                f"expected keys in {self.path.name}, found a file that cannot be opened "
                f"({error.strerror}). A link is not followed."
            ) from None
        with open(handle, encoding="utf-8") as file:
            facts = os.fstat(handle)
            stamp = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
            if stamp == self._stamp:
                return self._keys
            if stat.S_IMODE(facts.st_mode) & 0o077 or facts.st_uid != os.getuid():
                raise DoorError(
                    f"expected {self.path.name} to be readable by you alone, found it open to "
                    "others. Run `chmod 600` on it, and make new keys if others could read it."
                )
            try:
                found = _File.model_validate(json.loads(file.read(MOST_BYTES)))
            except (ValueError, RecursionError) as error:
                raise DoorError(
                    f"expected keys in {self.path.name}, found a damaged file "
                    f"({type(error).__name__}). Delete it and make new keys."
                ) from None
        self._stamp, self._keys = stamp, found.keys
        return self._keys

    def find(self, key: str) -> ApiKey | None:
        """The key, if it is one of this shop. Every hash is compared, in constant time."""
        identity, secret = split_key(key)
        wanted, found = hash_of(secret), None
        for one in self.keys():
            right = hmac.compare_digest(one.sha256, wanted)
            if right and hmac.compare_digest(one.id, identity):
                found = one
        return found

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        atomic_write_text(self.path, _File(keys=keys).model_dump_json(indent=1), mode=0o600)


def split_key(key: str) -> tuple[str, str]:
    """Id and secret of a key; ("", "") if it does not look like one."""
    parts = key.split("_", 2)
    looks_right = len(key) <= 100 and key.isascii() and len(parts) == 3 and parts[0] == PREFIX
    return (parts[1], parts[2]) if looks_right else ("", "")
