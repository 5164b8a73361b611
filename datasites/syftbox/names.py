"""What e-mails, jobs, files and keys may be called, and how large messages may be."""

from __future__ import annotations

import re
from urllib.parse import quote

from datasites.errors import PeerError, ReviewError

__all__ = [
    "JOB_MESSAGE_BYTES",
    "JOB_UNPACKED_BYTES",
    "MAX_CODE_FILES",
    "MAX_JOBS_A_DAY",
    "MAX_REPLY_FILES",
    "MAX_UNREAD_REPLIES",
    "MAX_WAITING_JOBS",
    "MOCK_BYTES",
    "PARAMS_BYTES",
    "PARCEL_BYTES",
    "RECEIPT_BYTES",
    "REPLY_MESSAGE_BYTES",
    "REPLY_UNPACKED_BYTES",
    "check_code_path",
    "check_email",
    "check_file_name",
    "check_job_name",
    "quoted",
]

MIB = 1024 * 1024
JOB_MESSAGE_BYTES = 4 * MIB
JOB_UNPACKED_BYTES = 8 * MIB
REPLY_MESSAGE_BYTES = 128 * MIB
REPLY_UNPACKED_BYTES = 256 * MIB
PARCEL_BYTES = 512 * MIB
MOCK_BYTES = 16 * MIB
PARAMS_BYTES = MIB
RECEIPT_BYTES = MIB
MAX_CODE_FILES = 200
MAX_REPLY_FILES = 64
MAX_WAITING_JOBS = 64
MAX_UNREAD_REPLIES = 256
MAX_JOBS_A_DAY = 5000

_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}@[A-Za-z0-9][A-Za-z0-9.-]{0,120}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_PROTOCOL_FOLDER = re.compile(r"v\d+")
_CODE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")
_CODE_DEPTH = 8


def check_email(email: str) -> str:
    """Return `email` if it can name a party. Raises PeerError otherwise."""
    if not isinstance(email, str) or not _EMAIL.fullmatch(email) or ".." in email:
        raise PeerError(
            f"expected an e-mail address such as shop@example.org, found {str(email)[:80]!r}"
        )
    return email


def check_job_name(name: str) -> str:
    """Return `name` if it can name a job or a state. Raises ReviewError otherwise."""
    if (
        not isinstance(name, str)
        or not _NAME.fullmatch(name)
        or ".." in name
        or _PROTOCOL_FOLDER.fullmatch(name)
    ):
        raise ReviewError(
            "expected a name of 1 to 128 letters, digits and inner '.', '_' or '-', not like "
            f"'v1'; found {str(name)[:80]!r}"
        )
    return name


def check_file_name(name: str) -> str:
    """Return `name` if it can name one file in a flat set. Raises ReviewError otherwise."""
    if not isinstance(name, str) or not _CODE_PART.fullmatch(name) or ".." in name:
        raise ReviewError(
            "expected a file name of 1 to 120 letters, digits, '.', '_' or '-', without folders; "
            f"found {str(name)[:80]!r}"
        )
    return name


def check_code_path(path: str) -> str:
    """Return the relative path of a code file, '/' between its parts, if it stays in its folder.

    Raises ReviewError otherwise.
    """
    parts = path.split("/") if isinstance(path, str) else [""]
    if len(parts) > _CODE_DEPTH or not all(
        _CODE_PART.fullmatch(part) and ".." not in part for part in parts
    ):
        raise ReviewError(
            "expected a relative path of plain names such as 'lib/model.py', at most "
            f"{_CODE_DEPTH} deep; found {str(path)[:80]!r}"
        )
    return path


def quoted(email: str) -> str:
    """One party's folder name in the share."""
    return quote(check_email(email), safe="@+")
