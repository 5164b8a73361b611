"""A merchant's durable memory of jobs: received, answered, delivered. It survives kill -9.

    SyftBox/ME/app_data/job/inbox/SENDER/v1/JOB/   code/ and params.json of a waiting job
    private/link/waiting/KEY.json                  received, not yet answered and delivered
    private/link/replies/KEY/                      an answer that is still to be delivered
    private/link/sent/KEY/                         delivered, and not signed for by its reader yet
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
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from datasites.errors import ReviewError
from datasites.private import private_folder
from datasites.syftbox.messages import PARAMS_FILE, IncomingJob, decode_params, encode_params
from datasites.syftbox.names import check_file_name
from datasites.syftbox.types import Submission
from recsys.files import atomic_write_text

__all__ = ["JobRecord", "JobShelf", "StoredReply"]

_ANSWER = "answer.json"


@dataclass(frozen=True)
class JobRecord:
    """One received job: `key` is unique at this merchant, `name` is unique for its sender.

    `fingerprint` is the sender's key that signed it: no other key gets its answer.
    """

    key: str
    name: str
    sender: str
    digest: str
    received: float
    fingerprint: str


@dataclass(frozen=True)
class StoredReply:
    """An answer that was made; `attempt` counts the names under which it was put in the share."""

    record: JobRecord
    status: str
    message: str
    files: dict[str, bytes]
    timestamp: float
    attempt: int = 0


class JobShelf:
    """Jobs and replies of one merchant.

    Args:
        private: Folder that is never synced.
        inbox: PySyft's `app_data/job/inbox` folder of this datasite.
    """

    def __init__(self, private: Path, inbox: Path) -> None:
        self._private = private_folder(private)
        self._inbox = inbox
        for name in ("waiting", "replies", "sent", "answered"):
            private_folder(private / name)

    # -- receiving -------------------------------------------------------------------------------

    def accept(self, incoming: IncomingJob, fingerprint: str) -> bool:
        """Keep a job; returns False if it was received before (the same message again).

        Args:
            fingerprint: Of the sender's key that signed it.

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
        record = JobRecord(
            key, incoming.job, incoming.sender, incoming.digest, time.time(), fingerprint
        )
        atomic_write_text(self._file("waiting", key), json.dumps(asdict(record)), mode=0o600)
        return True

    def sweep(self) -> None:
        """Remove what a crash left half done. Only while nobody else writes to the shelf."""
        for draft in [*self._private.glob(".incoming-*"), *(self._private / "replies").glob(".*")]:
            shutil.rmtree(draft, ignore_errors=True)
        for folder in (self._private / "sent").iterdir():
            if not self._file("answered", folder.name).exists():
                shutil.rmtree(folder, ignore_errors=True)
        for record in self._records("waiting"):
            if self._file("answered", record.key).exists():
                self._forget(record)

    def waiting_count(self, sender: str) -> int:
        """How many jobs of a sender wait for an answer."""
        return sum(record.sender == sender for record in self._records("waiting"))

    def is_settled(self, key: str) -> bool:
        """Tell whether nothing more is to be done for a job: it was delivered, or never came."""
        return not self._file("waiting", key).exists()

    def unread_count(self, sender: str) -> int:
        """How many answers a sender has not signed for, delivered or not."""
        kept = [
            folder.name
            for kind in ("replies", "sent")
            for folder in (self._private / kind).iterdir()
        ]
        records = [self._record(key) for key in kept if not key.startswith(".")]
        return sum(record is not None and record.sender == sender for record in records)

    def submissions(self, pinned: Mapping[str, str]) -> list[Submission]:
        """Received jobs without an answer, oldest first, of senders whose key is still `pinned`.

        Args:
            pinned: E-mail -> fingerprint of each accepted peer.
        """
        found = []
        for record in sorted(self._records("waiting"), key=lambda one: (one.received, one.key)):
            if self._is_answered(record.key) or pinned.get(record.sender) != record.fingerprint:
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
            if record is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif self._file("answered", folder.name).exists():
                self._forget(record)
            else:
                found.append(_read_reply(folder, record, whole=True))
        return sorted(found, key=lambda reply: reply.timestamp)

    def delivered(self, reply: StoredReply) -> None:
        """Note that an answer is in the outbox, and prune the job; the answer itself is kept."""
        facts = {**asdict(reply.record), "status": reply.status}
        target = self._file("answered", reply.record.key)
        atomic_write_text(target, json.dumps(facts), mode=0o600)
        self._forget(reply.record)

    def sent(self, sender: str) -> list[StoredReply]:
        """A sender's delivered answers that it has not signed for, without their files."""
        found = []
        for folder in (self._private / "sent").iterdir():
            record = self._record(folder.name)
            if record is not None and record.sender == sender:
                found.append(_read_reply(folder, record, whole=False))
        return found

    def loaded(self, reply: StoredReply) -> StoredReply:
        """A sent answer with its files."""
        return _read_reply(self._private / "sent" / reply.record.key, reply.record, whole=True)

    def renamed(self, reply: StoredReply) -> StoredReply:
        """A sent answer, with its files, to be put in the share under a new name."""
        folder = self._private / "sent" / reply.record.key
        facts = json.loads((folder / _ANSWER).read_text()) | {"attempt": reply.attempt + 1}
        atomic_write_text(folder / _ANSWER, json.dumps(facts), mode=0o600)
        return self.loaded(reply)

    def read(self, reply: StoredReply) -> None:
        """Note that the sender signed for an answer."""
        shutil.rmtree(self._private / "sent" / reply.record.key, ignore_errors=True)

    def drop(self, sender: str) -> None:
        """Forget a revoked sender's jobs and answers; their names stay used."""
        for record in list(self._records("waiting")):
            if record.sender == sender:
                facts = {**asdict(record), "status": "dropped"}
                target = self._file("answered", record.key)
                if not target.exists():
                    atomic_write_text(target, json.dumps(facts), mode=0o600)
                self._forget(record)
        for reply in self.sent(sender):
            self.read(reply)

    # -- parts -----------------------------------------------------------------------------------

    def _forget(self, record: JobRecord) -> None:
        made, sent = (self._private / kind / record.key for kind in ("replies", "sent"))
        if made.exists():
            shutil.rmtree(sent, ignore_errors=True)
            made.replace(sent)
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
            # A damaged record costs its own job, never the others.
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                yield _read_record(file)

    def _next_timestamp(self) -> float:
        """Later than every earlier one: readers ask for what came after the last they saw."""
        file = self._private / "clock.json"
        last = 0.0
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            last = float(json.loads(file.read_bytes()))
        now = max(time.time(), last + 1e-5)
        atomic_write_text(file, json.dumps(now), mode=0o600)
        return now


def _read_record(file: Path) -> JobRecord:
    facts = json.loads(file.read_text())
    return JobRecord(*(facts[name] for name in JobRecord.__dataclass_fields__))


def _read_reply(folder: Path, record: JobRecord, *, whole: bool) -> StoredReply:
    facts = json.loads((folder / _ANSWER).read_text())
    files = (folder / "files").iterdir() if whole else ()
    return StoredReply(
        record,
        facts["status"],
        facts["message"],
        {file.name: file.read_bytes() for file in files},
        facts["timestamp"],
        facts.get("attempt", 0),
    )


def _flush(folder: Path) -> None:
    """Bring files to disk before the rename that makes them count, for the sake of power cuts."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
