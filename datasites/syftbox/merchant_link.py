"""A merchant's connection to its peers: jobs in, replies out."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from datasites.errors import PeerError, ReviewError, StateGoneError, TransportError
from datasites.private import check_apart
from datasites.quarantine import Quarantine
from datasites.syftbox import exchange
from datasites.syftbox.allowance import DailyCount
from datasites.syftbox.clients import Party, build_merchant
from datasites.syftbox.messages import REPLY_FILE, REPLY_STATUSES
from datasites.syftbox.names import (
    MAX_REPLY_FILES,
    REPLY_UNPACKED_BYTES,
    check_email,
    check_file_name,
    check_job_name,
)
from datasites.syftbox.outbox import Outbox
from datasites.syftbox.parcels import open_parcel, pack_parcel, parcel_sha256, unpack_into
from datasites.syftbox.shelf import JobShelf
from datasites.syftbox.types import Peer, Submission, SyncReport
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = ["MerchantLink"]

_MOST_SHOWN = 200  # strangers in one run of the service, for each costs a file


class MerchantLink:
    """One merchant on the share. Safe to use from threads and from several processes.

    Args:
        email: The merchant's address, which names it to everybody.
        home: `home/syftbox` becomes PySyft's folder; `home/private` (0700) is never synced.
        share: Where the parties meet: an fsspec URL or a local path.

    Attributes:
        hears: Asked about a peer's e-mail right before anything is taken from it or sent to it;
            no means as little as if it were revoked. Everybody accepted is heard unless set.
    """

    hears: Callable[[str], bool]

    def __init__(self, email: str, home: Path, share: str) -> None:
        self.hears = lambda _email: True
        check_apart(home, share)
        party = Party(
            check_email(email), Path(home), exchange.open_store(home, share), merchant=True
        )
        self._party = party
        self._folder = party.private / "link"
        inbox = party.config.job.get_all_submissions_dir(email)
        self._shelf = JobShelf(self._folder, inbox)
        self._quarantine = Quarantine(self._folder / "quarantine")
        self._outbox = Outbox(party, self._shelf, self._quarantine, lambda email: self.hears(email))
        self._client, self._syncer = build_merchant(
            party,
            shelf=self._shelf,
            quarantine=self._quarantine,
            hears=lambda email: self.hears(email),
            taken_today=DailyCount(self._folder / "taken-today.json"),
        )
        self._threads = threading.RLock()
        self._key_is_shown = False
        self._shown_to: set[str] = set()
        self._parcels: dict[str, tuple[tuple[int, int], str]] = {}
        self.email = email
        self.own_fingerprint = exchange.readable(party.fingerprint)
        with self._alone():
            self._shelf.sweep()

    # -- peers -----------------------------------------------------------------------------------

    def peers(self) -> list[Peer]:
        """Everybody this merchant knows, and everybody who asks to be known.

        Who asks is shown this merchant's public key, so that both can see the pairing code before
        either trusts the other.
        """
        found = exchange.peers(self._party)
        for peer in found:
            asks = peer.state == "requested_by_peer" and peer.email not in self._shown_to
            if asks and len(self._shown_to) < _MOST_SHOWN:
                exchange.show_own_key(self._party, peer.email)
                self._shown_to.add(peer.email)
        return found

    def approve_peer(self, email: str, fingerprint: str | None = None) -> None:
        """Let a peer send jobs. Compare its fingerprint with it in person first.

        Args:
            fingerprint: The one compared; approval then fails if the share shows another.

        Raises:
            PeerError: The peer has not asked, or its key is missing, bad or not the expected one.
        """
        with self._threads:
            exchange.check_request(self._party, email, fingerprint)
            self._client.load_peers()
            self._client.approve_peer_request(email, verbose=False)
            self._share_mocks()

    def revoke_peer(self, email: str) -> None:
        """Stop hearing a peer, or a stranger that asks to pair.

        Its key is forgotten, so that pairing again means comparing again. Its waiting jobs and
        unread answers are dropped: whoever pairs under this e-mail later gets none of them.
        """
        with self._threads:
            book = self._party.book
            asked = not book.state(email) and self._party.connection.has_request(email)
            book.revoke(email, asked=asked)
            with self._alone():
                self._shelf.drop(email)
            self._outbox.withdraw(email)

    # -- jobs --------------------------------------------------------------------------------------

    def sync(self) -> SyncReport:
        """Take new jobs from accepted peers and deliver what is still undelivered.

        Raises TransportError if the share cannot be used; nothing is lost then.
        """
        with self._threads:
            self._party.check_share()
            self._syncer.new_jobs = 0
            if not self._key_is_shown:
                exchange.show_own_key_again(self._party)
                self._key_is_shown = True
            self._client.sync(auto_checkpoint=False, auto_compact=False)
            self._deliver()
            with self._alone():
                self._outbox.settle()
            self._share_mocks()
            return SyncReport(self._syncer.new_jobs, self._quarantine.take())

    def submissions(self) -> list[Submission]:
        """Every received job not yet answered, oldest first. Revoked peers' jobs are left out."""
        book = self._party.book
        return self._shelf.submissions({email: book.pinned(email) for email in book.accepted()})

    def is_settled(self, job: str) -> bool:
        """Tell whether nothing is to be done for a job: it was delivered, or never came."""
        return self._shelf.is_settled(job)

    def reply(self, job: str, status: str, message: str, files: dict[str, bytes]) -> None:
        """Answer a job, once: a second answer changes nothing.

        When this returns the answer is safe on disk. It is delivered at once if the share can be
        reached, else at a later `sync`, also after a crash.

        Args:
            status: done, refused or failed.
            files: Flat names -> contents, text or binary.

        Raises ReviewError for an unknown job, status or file name.

        Privacy: sends what it is given, encrypted to the job's sender; what that may be is
        decided by the release gate before.
        """
        # A second peer's use of a name is told apart by '~' and a mark.
        check_job_name(job.partition("~")[0])
        if status not in REPLY_STATUSES:
            raise ReviewError(f"expected one of {REPLY_STATUSES}, found {status!r}")
        size = sum(map(len, files.values()))
        if len(files) > MAX_REPLY_FILES or size > REPLY_UNPACKED_BYTES // 2:
            raise ReviewError(
                f"expected at most {MAX_REPLY_FILES} files of {REPLY_UNPACKED_BYTES >> 21} MB "
                f"together, found {len(files)} of {size >> 20} MB"
            )
        for name in files:
            if check_file_name(name) == REPLY_FILE:
                raise ReviewError(f"{REPLY_FILE} is written by the link itself")
        with self._threads:
            with self._alone():
                self._shelf.answer(job, status, message, files)
            try:
                self._deliver()
            except TransportError:
                # Safe on disk; every sync tries again and reports.
                return

    def download_state(self, peer: str, name: str, sha256: str, into: Path) -> Path:
        """Fetch what a scientist published for this merchant, as the whole contents of `into`.

        Raises TransportError if it is not what `sha256` names, StateGoneError if it is not there.
        """
        if peer not in self._party.book.accepted():
            raise PeerError(f"expected an accepted peer, found {peer}")
        tag = exchange.parcel_tag(check_job_name(name), self.email)
        content_hash = exchange.state_hash(name, self.email, sha256)
        try:
            parcel = exchange.fetch(self._party, exchange.STATE_PREFIX, tag, content_hash, peer)
        except ReviewError as error:
            raise TransportError(
                f"{name!r} from {peer} is not signed by it: somebody else put it in the share. "
                "Ask for it to be published again"
            ) from error
        if parcel is None:
            text = f"expected {name!r} published by {peer}, found none in the share"
            # Where the sender's key is not to be seen either, the share itself is away.
            if self._party.connection.shown_bundle(peer) is None:
                raise TransportError(text)
            raise StateGoneError(f"{text}: its round may be over")
        if parcel_sha256(parcel) != sha256:
            raise TransportError(
                f"{name!r} from {peer} is not what the job names: its sha256 differs. "
                "Ask for it to be published again"
            )
        return unpack_into(open_parcel(parcel)[0], into)

    def publish_mock(self, name: str, summary: str, files: dict[str, bytes]) -> None:
        """Show data made from public facts to every accepted peer, now and later.

        Privacy: free, if the files hold nothing of a shopper; that is the caller's promise.
        """
        parcel = pack_parcel(files, {"name": check_job_name(name), "summary": summary})
        folder = self._folder / "mocks"
        with self._threads:
            atomic_write_bytes(folder / f"{name}.parcel", parcel, mode=0o600)
            self._share_mocks()

    # -- parts -------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep this merchant's other processes out, as PySyft does while it syncs."""
        with self._party.engine.sync_file_lock():
            yield

    def _deliver(self) -> None:
        with self._alone():
            self._outbox.deliver()

    def _share_mocks(self) -> None:
        """Give each accepted peer each mock that it does not have yet."""
        accepted = self._party.book.accepted()
        for file in sorted((self._folder / "mocks").glob("*.parcel")):
            sha256 = self._sha256(file)
            ledger = file.with_suffix(".shared.json")
            shared = json.loads(ledger.read_text()) if ledger.exists() else {}
            for email in accepted:
                # A peer that was revoked and pairs again has a new key.
                mark = f"{sha256} {self._party.book.pinned(email)}"
                if shared.get(email) == mark:
                    continue
                self._client.load_peers()
                tag = exchange.parcel_tag(file.stem, email)
                self._party.engine.delete_collection(exchange.MOCK_PREFIX, tag)
                exchange.publish(
                    self._party,
                    exchange.MOCK_PREFIX,
                    file.stem,
                    email,
                    file.read_bytes(),
                    uuid.uuid4().hex,
                )
                shared[email] = mark
                atomic_write_text(ledger, json.dumps(shared), mode=0o600)

    def _sha256(self, file: Path) -> str:
        """A parcel's sha256, taken once for as long as the file stays the same."""
        facts = file.stat()
        mark = (facts.st_mtime_ns, facts.st_ino)
        known = self._parcels.get(file.name)
        if known is None or known[0] != mark:
            known = (mark, parcel_sha256(file.read_bytes()))
            self._parcels[file.name] = known
        return known[1]
