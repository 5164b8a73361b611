"""A merchant's durable memory of jobs: received, answered, delivered. It survives kill -9.

    SyftBox/ME/app_data/job/inbox/SENDER/v1/JOB/   code/ and params.json of a waiting job
    private/link/waiting/KEY.json                  received, not yet answered and delivered
    private/link/replies/KEY/                      an answer that is still to be delivered
    private/link/answered/KEY.json                 delivered; kept, so that no job comes twice

Each step is one rename, and each leaves a state from which the next start goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from datasites.errors import ReviewError
from datasites.syftbox.keys import private_folder
from datasites.syftbox.messages import PARAMS_FILE, IncomingJob, decode_params, encode_params
from datasites.syftbox.names import check_file_name
from datasites.syftbox.types import Submission
from recsys.files import atomic_write_text

__all__ = ["JobRecord", "JobShelf", "StoredReply"]

_ANSWER = "answer.json"


@dataclass(frozen=True)
class JobRecord:
    """One received job: `key` is unique at this merchant, `name` is unique for its sender."""

    key: str
    name: str
    sender: str
    digest: str
    received: float


@dataclass(frozen=True)
class StoredReply:
    """An answer that was made and is not delivered yet."""

    record: JobRecord
    status: str
    message: str
    files: dict[str, bytes]
    timestamp: float


class JobShelf:
    """Jobs and replies of one merchant.

    Args:
        private: Folder that is never synced.
        inbox: PySyft's `app_data/job/inbox` folder of this datasite.
    """

    def __init__(self, private: Path, inbox: Path) -> None:
        self._private = private_folder(private)
        self._inbox = inbox
        for name in ("waiting", "replies", "answered"):
            private_folder(private / name)

    # -- receiving -------------------------------------------------------------------------------

    def accept(self, incoming: IncomingJob) -> bool:
        """Keep a job; returns False if it was received before (the same message again).

        Raises ReviewError if its sender used the name for other contents.
        """
        key = self._key(incoming.job, incoming.sender)
        known = self._record(key)
        if known is not None:
            if known.digest == incoming.digest:
                return False
            raise ReviewError(
                f"job {incoming.job!r} was received before with other contents; "
                "a received job never changes, so send it under another name"
            )
        folder = self._folder(incoming.sender, incoming.job)
        # Without a record nobody has seen this folder: a crash came between the two writes.
        shutil.rmtree(folder, ignore_errors=True)
        draft = self._private / f".incoming-{uuid.uuid4().hex}"
        for path, content in incoming.code.items():
            file = draft / "code" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o444)
        (draft / PARAMS_FILE).write_bytes(encode_params(incoming.params))
        folder.parent.mkdir(parents=True, exist_ok=True)
        _flush(draft)
        draft.replace(folder)
        record = JobRecord(key, incoming.job, incoming.sender, incoming.digest, time.time())
        atomic_write_text(self._file("waiting", key), json.dumps(asdict(record)), mode=0o600)
        return True

    def sweep(self) -> None:
        """Remove what a crash left half done. Only while nobody else writes to the shelf."""
        for draft in [*self._private.glob(".incoming-*"), *(self._private / "replies").glob(".*")]:
            shutil.rmtree(draft, ignore_errors=True)
        for record in self._records("waiting"):
            if self._file("answered", record.key).exists():
                self._forget(record)

    def waiting_count(self, sender: str) -> int:
        """How many jobs of a sender wait for an answer."""
        return sum(record.sender == sender for record in self._records("waiting"))

    def is_settled(self, key: str) -> bool:
        """Tell whether nothing more is to be done for a job: it was delivered, or never came."""
        return not self._file("waiting", key).exists()

    def submissions(self) -> list[Submission]:
        """Received jobs without an answer, oldest first."""
        found = []
        for record in sorted(self._records("waiting"), key=lambda one: (one.received, one.key)):
            if self._is_answered(record.key):
                continue
            folder = self._folder(record.sender, record.name)
            with contextlib.suppress(FileNotFoundError):
                params = decode_params((folder / PARAMS_FILE).read_bytes())
                found.append(Submission(record.key, record.sender, folder / "code", params))
        return found

    # -- answering -------------------------------------------------------------------------------

    def answer(self, key: str, status: str, message: str, files: dict[str, bytes]) -> None:
        """Keep an answer for delivery. The first answer stays; later ones change nothing.

        Raises ReviewError if no such job was received.
        """
        if self._is_answered(key):
            return
        if self._record(key) is None:
            raise ReviewError(f"expected a job that was received, found none called {key[:80]!r}")
        draft = self._private / "replies" / f".{uuid.uuid4().hex}"
        (draft / "files").mkdir(parents=True)
        for name, data in files.items():
            (draft / "files" / check_file_name(name)).write_bytes(data)
        facts = {"status": status, "message": message, "timestamp": self._next_timestamp()}
        atomic_write_text(draft / _ANSWER, json.dumps(facts), mode=0o600)
        _flush(draft)
        draft.replace(self._private / "replies" / key)

    def undelivered(self) -> list[StoredReply]:
        """Answers to deliver, in the order in which they were made."""
        found = []
        for folder in (self._private / "replies").iterdir():
            if folder.name.startswith("."):
                continue
            record = self._record(folder.name)
            if record is None or self._file("answered", folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            facts = json.loads((folder / _ANSWER).read_text())
            files = {file.name: file.read_bytes() for file in (folder / "files").iterdir()}
            found.append(
                StoredReply(record, facts["status"], facts["message"], files, facts["timestamp"])
            )
        return sorted(found, key=lambda reply: reply.timestamp)

    def delivered(self, reply: StoredReply) -> None:
        """Note that an answer is in the outbox, and prune the job."""
        facts = {**asdict(reply.record), "status": reply.status}
        target = self._file("answered", reply.record.key)
        atomic_write_text(target, json.dumps(facts), mode=0o600)
        self._forget(reply.record)

    # -- parts -----------------------------------------------------------------------------------

    def _forget(self, record: JobRecord) -> None:
        shutil.rmtree(self._private / "replies" / record.key, ignore_errors=True)
        shutil.rmtree(self._folder(record.sender, record.name), ignore_errors=True)
        # Last: while it is there, the next start sweeps the rest away.
        self._file("waiting", record.key).unlink(missing_ok=True)

    def _is_answered(self, key: str) -> bool:
        stored = self._private / "replies" / key
        return stored.exists() or self._file("answered", key).exists()

    def _key(self, job: str, sender: str) -> str:
        """The job's name, or with a mark of its sender where another peer had the name first."""
        known = self._record(job)
        if known is None or known.sender == sender:
            return job
        return f"{job}~{hashlib.sha256(sender.encode()).hexdigest()[:8]}"

    def _folder(self, sender: str, job: str) -> Path:
        return self._inbox / sender / "v1" / job

    def _file(self, kind: str, key: str) -> Path:
        return self._private / kind / f"{key}.json"

    def _record(self, key: str) -> JobRecord | None:
        for kind in ("waiting", "answered"):
            with contextlib.suppress(FileNotFoundError):
                return _read_record(self._file(kind, key))
        return None

    def _records(self, kind: str) -> Iterator[JobRecord]:
        for file in (self._private / kind).glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                yield _read_record(file)

    def _next_timestamp(self) -> float:
        """Later than every earlier one: readers ask for what came after the last they saw."""
        file = self._private / "clock.json"
        last = float(json.loads(file.read_text())) if file.exists() else 0.0
        now = max(time.time(), last + 1e-5)
        atomic_write_text(file, json.dumps(now), mode=0o600)
        return now


def _read_record(file: Path) -> JobRecord:
    facts = json.loads(file.read_text())
    return JobRecord(*(facts[name] for name in JobRecord.__dataclass_fields__))


def _flush(folder: Path) -> None:
    """Bring files to disk before the rename that makes them count, for the sake of power cuts."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
