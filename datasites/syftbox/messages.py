"""Messages from other parties: unpacked within bounds and checked before anything is written."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from syft.sync.events.file_change_event import FileChangeEventsMessage
from syft.sync.messages.proposed_filechange import ProposedFileChangesMessage

from datasites.errors import ReviewError
from datasites.syftbox.job_code import PARAMS_FILE, check_code
from datasites.syftbox.names import (
    JOB_UNPACKED_BYTES,
    MAX_CODE_FILES,
    MAX_REPLY_FILES,
    PARAMS_BYTES,
    REPLY_UNPACKED_BYTES,
    check_code_path,
    check_file_name,
    check_job_name,
)

__all__ = [
    "PARAMS_FILE",
    "REPLY_FILE",
    "REPLY_STATUSES",
    "IncomingJob",
    "IncomingReply",
    "check_reply",
    "content_digest",
    "decode_params",
    "encode_params",
    "one_line",
    "read_job",
    "read_reply",
    "unpack",
]

REPLY_FILE = "reply.json"
REPLY_STATUSES = ("done", "refused", "failed")
_MEMBER = "proposed_file_changes.json"
_MESSAGE_CHARS = 2000
_MOST_PARTS = 40_000
# Strings as a whole, and what separates values. An open end matches too, so that no quote is tried
# twice and time stays linear.
_PART = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[,\[{]', re.DOTALL)


@dataclass(frozen=True)
class IncomingJob:
    """A job message that passed every check."""

    job: str
    sender: str
    code: dict[str, bytes]
    params: dict[str, Any]

    @property
    def digest(self) -> str:
        """sha256 over everything that the merchant will act on."""
        return content_digest(self.code, self.params)


@dataclass(frozen=True)
class IncomingReply:
    """A reply message that passed every check."""

    job: str
    status: str
    message: str
    files: dict[str, bytes]


def unpack(data: bytes, limit: int) -> bytes:
    """Undo PySyft's packing (gzip, then tar with one member), holding at most `limit` bytes.

    Raises ReviewError on anything else, and before a bomb has grown.
    """
    engine = zlib.decompressobj(wbits=31)
    try:
        tar = engine.decompress(data, limit + 10 * 1024 + 1)
    except zlib.error as error:
        raise ReviewError("expected a gzip archive, found something else") from error
    if len(tar) > limit + 10 * 1024:
        raise ReviewError(f"expected at most {limit} bytes unpacked, found more")
    if not engine.eof or engine.unused_data:
        raise ReviewError("expected one whole gzip archive, found a part or more than one")
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            member = archive.next()
            # A sparse member unpacks to more than the archive holds.
            if member is None or not member.isreg() or member.issparse() or member.name != _MEMBER:
                raise ReviewError(f"expected a tar archive with {_MEMBER}, found something else")
            file = archive.extractfile(member)
            found = b"" if file is None else file.read(min(limit, len(tar)) + 1)
    except tarfile.TarError as error:
        raise ReviewError("expected a tar archive, found something else") from error
    if len(found) > limit:
        raise ReviewError(f"expected at most {limit} bytes unpacked, found more")
    return found


def read_job(data: bytes, *, owner: str, sender: str) -> IncomingJob:
    """Check a decrypted job message from `sender`, whose inbox folder it lay in.

    Raises ReviewError, saying which rule it breaks.
    """
    text = unpack(data, JOB_UNPACKED_BYTES)
    try:
        fields = json.loads(_not_too_many_values(text, "job"))
        count = len(fields["proposed_file_changes"])
        # run.sh, config.yaml and params.json come with the code. Counted before objects are made.
        if not 0 < count <= MAX_CODE_FILES + 3:
            raise ReviewError(f"expected 1 to {MAX_CODE_FILES} files, found {count}")
        _only_texts(fields["proposed_file_changes"])
        message = ProposedFileChangesMessage.model_validate(fields)
    except (
        ValueError,
        TypeError,
        RecursionError,
        KeyError,
        AttributeError,
        OverflowError,
    ) as error:
        raise ReviewError("expected a job message, found JSON of another kind") from error
    if message.sender_email != sender:
        raise ReviewError("the message names another sender than the peer whose inbox it lay in")
    jobs: set[str] = set()
    files: dict[str, bytes] = {}
    for change in message.proposed_file_changes:
        if change.datasite_email != owner:
            raise ReviewError("the message is addressed to another datasite")
        if change.is_deleted or change.content is None:
            raise ReviewError("the message asks to delete a file; peers may not")
        job, path = _place(PurePosixPath(change.path_in_datasite), sender)
        jobs.add(job)
        if path.lower() in {known.lower() for known in files}:
            raise ReviewError("the message holds the same file twice")
        files[path] = _as_bytes(change.content)
    if len(jobs) != 1:
        raise ReviewError("expected the files of one job in a message, found several jobs")
    code = {
        path.removeprefix("code/"): content
        for path, content in files.items()
        if path.startswith("code/")
    }
    params = code.pop(PARAMS_FILE, None)
    if params is None or not code:
        raise ReviewError(f"expected code files and {PARAMS_FILE}, found only one of them")
    check_code(code)
    return IncomingJob(jobs.pop(), sender, code, decode_params(params))


def _place(path: PurePosixPath, sender: str) -> tuple[str, str]:
    """Split an allowed path into job and path within the job; ReviewError for any other path."""
    parts = path.parts
    if len(parts) < 7 or parts[:5] != ("app_data", "job", "inbox", sender, "v1"):
        raise ReviewError("the message writes outside its sender's job folder")
    job, rest = check_job_name(parts[5]), "/".join(parts[6:])
    if rest in ("run.sh", "config.yaml"):
        return job, rest
    if not rest.startswith("code/"):
        raise ReviewError("the message writes a file that is no part of a job")
    check_code_path(rest.removeprefix("code/"))
    return job, rest


def encode_params(params: dict[str, Any]) -> bytes:
    """A job's parameters as canonical JSON. Raises ReviewError if not JSON, or too long."""
    try:
        text = json.dumps(params, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ReviewError("expected parameters that JSON can hold, without NaN") from error
    if len(text) > PARAMS_BYTES:
        raise ReviewError(
            f"expected at most {PARAMS_BYTES >> 20} MB of parameters, found more. "
            "Publish large arrays as a state and name it in the parameters"
        )
    return text


def decode_params(data: bytes) -> dict[str, Any]:
    """Read a job's parameters. Raises ReviewError unless they are one JSON object in bounds."""
    if len(data) > PARAMS_BYTES:
        raise ReviewError(f"expected at most {PARAMS_BYTES >> 20} MB in {PARAMS_FILE}, found more")
    try:
        params = json.loads(data, parse_constant=_no_constants)
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"expected {PARAMS_FILE} to be JSON, found something else") from error
    if not isinstance(params, dict):
        raise ReviewError(f"expected {PARAMS_FILE} to hold a JSON object, found another value")
    return params


def _no_constants(name: str) -> None:
    raise ValueError(name)


def content_digest(code: dict[str, bytes], params: dict[str, Any]) -> str:
    """Hex sha256 over a job's code files and parameters."""
    digest = hashlib.sha256(b"toyfed job 1\n")
    for path, content in [*sorted(code.items()), ("", encode_params(params))]:
        for part in (path.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def read_reply(
    data: bytes, *, owner: str, reader: str
) -> tuple[IncomingReply, FileChangeEventsMessage]:
    """Check a decrypted reply message from the merchant `owner` to `reader`.

    Raises ReviewError, saying which rule it breaks.
    """
    text = unpack(data, REPLY_UNPACKED_BYTES)
    try:
        fields = json.loads(_not_too_many_values(text, "reply"))
        if not 0 < len(fields["events"]) <= MAX_REPLY_FILES + 1:
            raise ReviewError(f"expected at most {MAX_REPLY_FILES} files in a reply")
        _only_texts(fields["events"])
        message = FileChangeEventsMessage.model_validate(fields)
    except (
        ValueError,
        TypeError,
        RecursionError,
        KeyError,
        AttributeError,
        OverflowError,
    ) as error:
        raise ReviewError("expected a reply message, found JSON of another kind") from error
    jobs: set[str] = set()
    contents: dict[str, bytes] = {}
    for event in message.events:
        parts = PurePosixPath(event.path_in_datasite).parts
        if event.datasite_email != owner or event.is_deleted or event.content is None:
            raise ReviewError("the reply writes in another's name, or deletes")
        if len(parts) != 7 or parts[:5] != ("app_data", "job", "review", reader, "v1"):
            raise ReviewError("the reply writes outside the reader's review folder")
        jobs.add(check_job_name(parts[5]))
        if check_file_name(parts[6]) in contents:
            raise ReviewError("the reply holds the same file twice")
        contents[parts[6]] = _as_bytes(event.content)
    if len(jobs) != 1 or REPLY_FILE not in contents:
        raise ReviewError(f"expected one job's {REPLY_FILE} and its files")
    return check_reply(jobs.pop(), contents), message


def check_reply(job: str, contents: dict[str, bytes]) -> IncomingReply:
    """Check reply.json against the files beside it. Raises ReviewError."""
    try:
        manifest = json.loads(contents[REPLY_FILE])
        status, message = manifest["status"], manifest["message"]
        hashes = dict(manifest["files"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReviewError(f"expected {REPLY_FILE} with status, message and files") from error
    files = {name: content for name, content in contents.items() if name != REPLY_FILE}
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if status not in REPLY_STATUSES or not isinstance(message, str) or found != hashes:
        raise ReviewError(f"expected the files and hashes of {REPLY_FILE}, found others")
    return IncomingReply(job, status, one_line(message), files)


def one_line(message: str) -> str:
    """What another party wrote, so that it cannot move a terminal's cursor or fill a page."""
    plain = "".join(char if char.isprintable() else " " for char in message[:_MESSAGE_CHARS])
    return plain if len(message) <= _MESSAGE_CHARS else f"{plain}…"


def _only_texts(changes: list[dict[str, Any]]) -> None:
    """Raise ValueError unless contents are texts, as JSON has them.

    PySyft would make `bytes(n)` of a number n: ten digits in a message take ten gigabytes.
    """
    if not all(isinstance(change.get("content"), str | None) for change in changes):
        raise ValueError("contents that are no texts")


def _as_bytes(content: str | bytes) -> bytes:
    if not isinstance(content, str):
        return bytes(content)
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise ReviewError("expected text, found half of a character pair") from error


def _not_too_many_values(text: bytes, what: str) -> bytes:
    """Return `text` unless it has more JSON values than a message needs: each costs memory.

    Two bytes such as '{}' become an object of 64, so that bytes alone bound nothing.
    """
    for found, _ in enumerate(_PART.finditer(text)):
        if found > _MOST_PARTS:
            raise ReviewError(f"expected a {what} message, found one of too many parts")
    return text
