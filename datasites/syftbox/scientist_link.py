"""A data scientist's connection to merchants: jobs out, replies in."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syft_job.models import JobSubmissionMetadata

from datasites.errors import PeerError, ReviewError
from datasites.pairing import check_pairing_code
from datasites.private import check_apart, private_folder
from datasites.quarantine import Quarantine
from datasites.syftbox import exchange
from datasites.syftbox.clients import Party, build_scientist
from datasites.syftbox.job_code import PARAMS_FILE, check_code, read_folder
from datasites.syftbox.messages import (
    IncomingReply,
    check_reply,
    content_digest,
    encode_params,
    one_line,
)
from datasites.syftbox.names import (
    JOB_UNPACKED_BYTES,
    MOCK_BYTES,
    check_email,
    check_job_name,
    quoted,
)
from datasites.syftbox.parcels import open_parcel, pack_parcel, parcel_sha256
from datasites.syftbox.receipts import ReadMarks
from datasites.syftbox.types import Mock, Peer, Reply, SyncReport
from recsys.files import atomic_write_text

__all__ = ["ScientistLink"]

_MOST_MOCKS = 16
_NEVER_RUN = "#!/bin/sh\n# Merchants run code in their own sandbox, never this file.\nexit 1\n"


class ScientistLink:
    """One data scientist on the share. Safe to use from threads.

    Args:
        email: The scientist's address, which names it to everybody.
        home: `home/syftbox` becomes PySyft's folder; `home/private` (0700) is never synced.
        share: Where the parties meet: an fsspec URL or a local path.
    """

    def __init__(self, email: str, home: Path, share: str) -> None:
        check_apart(home, share)
        self._party = Party(
            check_email(email), Path(home), exchange.open_store(home, share), merchant=False
        )
        self._folder = private_folder(self._party.private / "link")
        self._quarantine = Quarantine(self._folder / "quarantine")
        self._client, self._syncer = build_scientist(
            self._party,
            quarantine=self._quarantine,
            marks=ReadMarks(self._folder / "read"),
            wanted=self._wanted,
            finished=self._finished,
        )
        self._threads = threading.RLock()
        self._key_is_shown = False
        self.email = email
        self.own_fingerprint = exchange.readable(self._party.fingerprint)

    # -- peers -------------------------------------------------------------------------------------

    def request_peer(
        self, email: str, fingerprint: str | None = None, *, code: str | None = None
    ) -> None:
        """Ask a merchant to pair; asking again changes nothing.

        Args:
            fingerprint: The merchant's, compared in person; no other key is taken then. Without
                it the first key that the share shows is pinned, so compare `peers()` later.
            code: The pairing code's words instead, as the merchant read them out.

        Raises PeerError if another key than the pinned one is shown, if the code is another one, or
        if there is a code but no key yet; the request is sent all the same in the last case.
        """
        check_email(email)
        with self._threads:
            if code is not None:
                # Read once: the share may show another key the next time.
                full, words = exchange.key_to_compare(self._party, email)
                if words:
                    check_pairing_code(code, words)
                    self._party.book.expect(email, full)
                else:
                    self._request(email)
                    raise PeerError(
                        f"expected a key of {email} to compare the pairing code with, found none: "
                        "waiting for their key. The request is sent; once their datasite has seen "
                        "it (`toyfed datasite serve`), give the code again"
                    )
            if fingerprint is not None:
                self._party.book.expect(email, fingerprint)
            self._request(email)

    def _request(self, email: str) -> None:
        shown = self._party.connection.shown_fingerprint(email)
        if shown:
            self._party.book.check_pin(email, shown, self._party.book.pinned(email))
        self._client.load_peers()
        state = self._party.book.state(email)
        self._client.add_peer(email, force=state != "accepted", verbose=False, sync=False)
        self._client.load_peers()

    def revoke_peer(self, email: str) -> None:
        """Stop dealing with a merchant and forget its key."""
        with self._threads:
            self._party.book.revoke(email)

    def peers(self) -> list[Peer]:
        """Everybody this scientist knows, with the fingerprints to compare."""
        return exchange.peers(self._party)

    # -- jobs --------------------------------------------------------------------------------------

    def sync(self) -> SyncReport:
        """Take new replies from merchants.

        Raises TransportError if the share cannot be used; nothing is lost then.
        """
        with self._threads:
            self._party.check_share()
            self._syncer.new_replies = 0
            if not self._key_is_shown:
                exchange.show_own_key_again(self._party)
                self._key_is_shown = True
            self._client.sync(auto_checkpoint=False, auto_compact=False)
            return SyncReport(self._syncer.new_replies, self._quarantine.take())

    def submit(
        self, merchant: str, job: str, code: dict[str, bytes] | Path, params: dict[str, Any]
    ) -> None:
        """Send a job: text code files and JSON parameters. Sending the same again is harmless.

        Raises:
            PeerError: The merchant is not paired, or shows another key than the pinned one.
            ReviewError: A name or a file that no merchant would take, or a job of that name was
                sent to this merchant with other contents.
        """
        check_job_name(job)
        files = read_folder(code) if isinstance(code, Path) else dict(code)
        check_code(files)
        texts = {path: data.decode() for path, data in files.items()}
        texts[PARAMS_FILE] = encode_params(params).decode()
        if sum(map(len, files.values())) + len(texts[PARAMS_FILE]) > JOB_UNPACKED_BYTES // 2:
            raise ReviewError(
                f"expected at most {JOB_UNPACKED_BYTES >> 21} MB of code and parameters. "
                "Publish large arrays as a state and name it in the parameters"
            )
        digest = content_digest(files, params)
        with self._threads:
            exchange.check_peer(self._party, merchant)
            known = self._sent(merchant, job)
            if known and known["digest"] != digest:
                raise ReviewError(
                    f"job {job!r} was sent to {merchant} with other contents; use another name"
                )
            if known.get("state") == "answered":
                return
            self._client.load_peers()
            atomic_write_text(
                self._sent_file(merchant, job),
                json.dumps({"digest": digest, "state": "sent"}),
                mode=0o600,
            )
            self._push(merchant, job, texts)

    def reply(self, merchant: str, job: str) -> Reply:
        """The merchant's answer as of the last `sync`; status 'waiting' while there is none."""
        folder = self._review(check_email(merchant), check_job_name(job))
        if self._sent(merchant, job).get("state") != "answered":
            return Reply("waiting", "", {})
        contents = {file.name: file.read_bytes() for file in folder.iterdir()}
        found = check_reply(job, contents)
        return Reply(found.status, found.message, found.files)

    def forget(self, merchant: str, job: str) -> None:
        """Remove an answered job's files from this disk; the job's name stays used."""
        with self._threads:
            if self._sent(merchant, check_job_name(job)).get("state") == "answered":
                shutil.rmtree(self._review(merchant, job), ignore_errors=True)

    # -- states and mocks --------------------------------------------------------------------------

    def publish_state(self, name: str, files: dict[str, bytes], recipients: list[str]) -> str:
        """Publish files, encrypted to each recipient by itself; returns the sha256 that names them.

        A job tells its merchant `name` and this sha256, and the merchant's `download_state`
        accepts nothing else.

        Raises PeerError if a recipient is not paired.
        """
        check_job_name(name)
        parcel = pack_parcel(files)
        sha256 = parcel_sha256(parcel)
        with self._threads:
            self._client.load_peers()
            for email in recipients:
                exchange.check_peer(self._party, email)
            for email in recipients:
                content_hash = exchange.state_hash(name, email, sha256)
                exchange.publish(
                    self._party, exchange.STATE_PREFIX, name, email, parcel, content_hash
                )
        return sha256

    def delete_state(self, name: str) -> None:
        """Remove a published state for all its recipients; nothing happens if there is none."""
        start = exchange.parcel_tag(check_job_name(name), "").rpartition("~~")[0] + "~~"
        with self._threads:
            for tag in self._party.connection.owner_list_collections(exchange.STATE_PREFIX):
                if tag.startswith(start):
                    self._party.engine.delete_collection(exchange.STATE_PREFIX, tag)

    def mocks(self, merchant: str) -> list[Mock]:
        """The mock data that a merchant shows to this scientist."""
        exchange.check_peer(self._party, merchant)
        found: dict[str, Mock] = {}
        with self._threads:
            self._client.load_peers()
            rows = self._party.connection.collections_of(merchant, exchange.MOCK_PREFIX)
            for row in rows[:_MOST_MOCKS]:
                # PySyft's own download would also take what nobody signed, and all of it.
                parcel = exchange.fetch(
                    self._party,
                    exchange.MOCK_PREFIX,
                    row["tag"],
                    row["content_hash"],
                    merchant,
                    MOCK_BYTES,
                )
                if parcel is None:
                    continue
                contents, facts = open_parcel(parcel)
                name = one_line(str(facts.get("name", "")))
                found[name] = Mock(name, one_line(str(facts.get("summary", ""))), contents)
        return [found[name] for name in sorted(found)]

    # -- parts -------------------------------------------------------------------------------------

    def _push(self, merchant: str, job: str, texts: dict[str, str]) -> None:
        """Send a job folder through PySyft as one message, and keep no copy of it."""
        storage = self._client.job_client.manager
        ref = storage.new_submission_ref(merchant, job)
        folder = storage.submission_dir(ref)
        shutil.rmtree(folder, ignore_errors=True)
        metadata = JobSubmissionMetadata(
            name=job,
            type="python",
            submitted_by=self.email,
            datasite_email=merchant,
            submitted_at=datetime.now(UTC),
            entrypoint="main.py",
            files=sorted(texts),
            is_folder_submission=True,
        )
        config = storage.write_submission(ref, metadata)
        contents = {f"code/{path}": text for path, text in texts.items()}
        contents |= {"run.sh": _NEVER_RUN, "config.yaml": config.read_text(encoding="utf-8")}
        watcher = self._syncer
        # What a failed attempt left in the queue would travel with this job.
        while not watcher.queue.empty():
            watcher.queue.get()
        relative = folder.relative_to(self._party.syftbox)
        left = len(contents)
        try:
            for path, text in contents.items():
                left -= 1
                watcher.on_file_change(relative / path, text, process_now=left == 0)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _review(self, merchant: str, job: str) -> Path:
        config = self._party.config.job
        folder: Path = config.get_review_job_dir(merchant, self.email, job)
        return folder

    def _sent_file(self, merchant: str, job: str) -> Path:
        return self._folder / "sent" / quoted(merchant) / f"{job}.json"

    def _sent(self, merchant: str, job: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._sent_file(merchant, job).read_text())
        except FileNotFoundError:
            return {}
        return found

    def _wanted(self, merchant: str, job: str) -> bool:
        """Only an awaited reply is written, and only once: an answer never changes."""
        return self._sent(merchant, job).get("state") == "sent"

    def _finished(self, merchant: str, reply: IncomingReply) -> None:
        facts = {**self._sent(merchant, reply.job), "state": "answered"}
        atomic_write_text(self._sent_file(merchant, reply.job), json.dumps(facts), mode=0o600)
