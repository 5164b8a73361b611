"""What PySyft 0.10 does by itself with the same attacks, so that the comparison is measured.

If one of these fails after an upgrade, PySyft has changed: look whether our own answer to that
attack is still needed, and at docs/threat-model.md.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from syft.sync.messages.proposed_filechange import ProposedFileChange, ProposedFileChangesMessage
from syft.sync.peers.peer import Peer, PeerState
from syft.sync.peers.peer_store import PeerStore
from syft.sync.utils.syftbox_utils import uncompress_data
from syft_rds.client import SyftRDSClient

pytestmark = [pytest.mark.attack, pytest.mark.slow]


class Stock:
    """A scientist and a merchant of PySyft's own, over its own stand-in for Google Drive."""

    def __init__(self, folder: Path) -> None:
        self.ds, self.do = SyftRDSClient.pair_with_mock_drive_service_connection(
            use_in_memory_cache=False,
            encryption=True,
            base_path1=str(folder / "ds"),
            base_path2=str(folder / "do"),
        )
        self.root = Path(self.do.syftbox_folder) / self.do.email

    @property
    def router(self) -> Any:
        return self.ds.sync_engine.datasite_watcher_syncer.connection_router

    def push(self, sender: str, paths: dict[str, str], **more: Any) -> None:
        changes = [
            ProposedFileChange(
                path_in_datasite=path, content=text, datasite_email=self.do.email, **more
            )
            for path, text in paths.items()
        ]
        message = ProposedFileChangesMessage(sender_email=sender, proposed_file_changes=changes)
        self.router.watcher_send_proposed_file_changes_message(self.do.email, message)

    def job(self, name: str) -> str:
        return f"app_data/job/inbox/{self.ds.email}/v1/{name}/code/main.py"


@pytest.fixture
def stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stock:
    monkeypatch.setenv("PRE_SYNC", "false")
    return Stock(tmp_path)


def test_stock_lets_a_peer_approve_its_own_job_in_the_merchants_name(stock: Stock) -> None:
    state = f"app_data/job/review/{stock.ds.email}/v1/mine/state.yaml"
    stock.push(stock.ds.email, {state: "status: approved"})
    stock.do.sync()
    assert not (stock.root / state).exists()
    # The same message, with the merchant's address as its sender.
    stock.push(stock.do.email, {state: "status: approved"})
    with pytest.raises(ValueError, match="Outbox folder"):
        stock.do.sync()
    assert (stock.root / state).read_text() == "status: approved"


def test_stock_lets_a_peer_replace_a_received_job(stock: Stock) -> None:
    path = stock.job("job-1")
    stock.push(stock.ds.email, {path: "print(1)"})
    stock.do.sync()
    first = stock.do.sync_engine.datasite_owner_syncer.event_cache.file_hashes[Path(path)]
    stock.push(stock.ds.email, {path: "evil()"}, old_hash=first)
    stock.do.sync()
    assert (stock.root / path).read_text() == "evil()"


def test_stock_stops_for_everybody_at_one_bad_message(stock: Stock) -> None:
    connection = stock.router.connections[0]
    connection.watcher_send_raw_bytes_to_inbox(stock.do.email, "msgv2_1.0_x.tar.gz", b"noise")
    stock.push(stock.ds.email, {stock.job("real"): "print(1)"})
    for _ in range(2):
        with pytest.raises(ValueError, match="envelope"):
            stock.do.sync()
    assert not (stock.root / stock.job("real")).exists()


def test_stock_unpacks_a_bomb_whole() -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("proposed_file_changes.json")
        info.size = 100_000_000
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    bomb = gzip.compress(tar.getvalue())
    assert len(bomb) < 110_000
    tracemalloc.start()
    try:
        uncompress_data(bomb)
        assert tracemalloc.get_traced_memory()[1] > 100_000_000
    finally:
        tracemalloc.stop()


def test_stock_keys_can_be_read_by_everybody(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = PeerStore(email="a@b.org", use_encryption=True)
        store.generate_keys()
        store.save_keys(tmp_path / "keys" / "crypto_keys.json")
    finally:
        os.umask(before)
    assert (tmp_path / "keys" / "crypto_keys.json").stat().st_mode & 0o044 == 0o044


def test_stock_takes_another_key_for_a_known_peer_without_a_word() -> None:
    bundles = []
    for _ in range(2):
        keys = PeerStore(email="a@b.org", use_encryption=True)
        keys.generate_keys()
        bundles.append(keys.get_public_bundle())
    store = PeerStore(email="me@b.org", use_encryption=True)
    store.set_peer(Peer(email="a@b.org", platforms=[], state=PeerState.ACCEPTED))
    for bundle in bundles:
        store.set_peer_bundle("a@b.org", bundle)
    assert store.get_cached_peer("a@b.org").public_encryption_bundle == bundles[1]
