"""How to sign in to a share: `private/share-options.toml`, never in settings, logs or addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from datasites.errors import SettingsError
from datasites.private import check_private_file
from recsys.files import atomic_write_text

__all__ = [
    "OPTIONS_FILE",
    "check_address",
    "checked_options",
    "keep_options",
    "kind_of",
    "poll_seconds",
    "read_options",
]

OPTIONS_FILE = "share-options.toml"
_KNOWN = {
    "s3": {"endpoint_url", "profile", "region", "key", "secret", "token"},
    "sftp": {"username", "password", "client_keys", "known_hosts", "agent_path"},
    "webdav": {"username", "password", "ca_file"},
    "gdrive": {"token_file", "api_endpoint"},
}
_SAME = {"s3a": "s3", "ssh": "sftp", "webdavs": "webdav"}
_FOLDER_ID = re.compile("[A-Za-z0-9_-]{10,}")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def kind_of(share: str) -> str:
    """s3, sftp, webdav or gdrive; '' for anything else, a folder on disk among it."""
    scheme = str(share).partition("://")[0].lower() if "://" in str(share) else ""
    kind = _SAME.get(scheme, scheme)
    return kind if kind in _KNOWN else ""


def check_address(share: str) -> None:
    """Raise SettingsError if a share's address holds a password, or names no folder of Drive.

    An address is shown on pages and kept in settings, so nothing secret may be in it.
    """
    if "://" not in share:
        return
    try:
        secret = urlsplit(share).password is not None or "?" in share
    except ValueError:
        secret = True
    if secret:
        raise SettingsError(
            "expected a share's address without password or '?', found one. Put the password in a "
            "file of its own and name that with --share-options FILE; see docs/distance.md"
        )
    if kind_of(share) == "gdrive" and not _FOLDER_ID.fullmatch(urlsplit(share).netloc):
        raise SettingsError(
            "expected gdrive:// and a folder's id, which is the end of its address in Google "
            "Drive, found another text. See docs/distance.md"
        )


def read_options(private: Path, share: str) -> dict[str, Any]:
    """What `private/share-options.toml` says; {} if there is none.

    Raises SettingsError without quoting a value.
    """
    file = Path(private) / OPTIONS_FILE
    check_private_file(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise SettingsError(
            f"expected {OPTIONS_FILE} to be a readable text, found none. Write it anew"
        ) from None
    return _parsed(text, share)


def checked_options(given: Path | None, share: str) -> str:
    """The text of an options file that may be kept for this share; '' if none was given.

    Raises SettingsError, for a bad address too, before anything is made.
    """
    check_address(share)
    if given is None:
        return ""
    try:
        text = Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise SettingsError(
            f"expected a text file of share options, found none at {Path(given).name}. "
            "Check the path after --share-options"
        ) from None
    _parsed(text, share)
    return text


def keep_options(private: Path, text: str) -> None:
    """Keep a checked options file where only its owner can read it."""
    if text:
        atomic_write_text(Path(private) / OPTIONS_FILE, text, mode=0o600)


def poll_seconds(share: str) -> float:
    """How often to look at a share: requests to a server cost time, and often money."""
    return 5.0 if kind_of(share) else 0.5


def _parsed(text: str, share: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError):
        # Its words would quote the line, and the line may be the password.
        raise SettingsError(
            f'expected {OPTIONS_FILE} as TOML such as  username = "toys", found something else. '
            "Mend it"
        ) from None
    kind = kind_of(share)
    known = _KNOWN.get(kind, set())
    strange = sorted(str(name)[:40] for name in found if name not in known)
    if strange:
        raise SettingsError(
            f"expected in {OPTIONS_FILE} for this share only: "
            f"{', '.join(sorted(known)) or 'nothing'}; found {', '.join(strange[:5])}. Remove it"
        )
    for name, value in found.items():
        listed = name == "client_keys" and isinstance(value, list)
        if not all(isinstance(one, str) for one in (value if listed else [value])):
            raise SettingsError(f"expected {name} in {OPTIONS_FILE} to be a text. Put it in quotes")
    server = urlsplit(found.get("api_endpoint", ""))
    if server.scheme == "http" and server.hostname not in _LOOPBACK:
        raise SettingsError(
            "expected api_endpoint with https://, found http://, which would send the token in the "
            "clear. Leave it out: it is for tests"
        )
    where = urlsplit(share)
    clear = where.scheme == "webdav" and where.hostname not in _LOOPBACK
    if kind == "webdav" and clear and "password" in found:
        raise SettingsError(
            "expected webdavs:// where there is a password, found webdav://, which would send it "
            "in the clear. Use the server's https address"
        )
    return found
