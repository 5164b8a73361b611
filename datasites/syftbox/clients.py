"""PySyft clients over one share, built from PySyft's public constructors only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from syft.sync.syftbox_manager import SyftboxManager, SyftboxManagerConfig
from syft.sync.sync.caches.cache_file_writer_connection import InMemoryCacheFileConnection
from syft.sync.sync.caches.datasite_owner_cache import DataSiteOwnerEventCacheConfig
from syft.sync.sync.caches.datasite_watcher_cache import DataSiteWatcherCacheConfig
from syft.sync.sync.datasite_owner_syncer import DatasiteOwnerSyncerConfig
from syft.sync.sync.datasite_watcher_syncer import DatasiteWatcherSyncerConfig
from syft.sync.version.peer_manager import PeerManagerConfig
from syft_datasets.config import SyftBoxConfig
from syft_datasets.dataset_manager import SyftDatasetManager
from syft_job import SyftJobConfig
from syft_job.client import JobClient
from syft_rds.client import SyftRDSClient
from syft_rds.config import COLLECTION_SUBPATH, SyftRDSClientConfig

from datasites.private import private_folder
from datasites.syftbox.hardening import StrictOwnerSyncer, StrictWatcherSyncer
from datasites.syftbox.keys import ensure_keys
from datasites.syftbox.names import quoted
from datasites.syftbox.peers import PeerBook
from datasites.syftbox.store import ObjectStore
from datasites.syftbox.transport import ObjectStoreConfig, ObjectStoreConnection
from recsys.files import atomic_write_text, sweep_leftovers

__all__ = ["Party", "build_merchant", "build_scientist"]


class Party:
    """The parts that a merchant and a scientist share: folders, keys, peer book, settings."""

    def __init__(self, email: str, home: Path, store: ObjectStore, *, merchant: bool) -> None:
        # PySyft would sync on every look at a list otherwise.
        os.environ["PRE_SYNC"] = "false"
        self.email = email
        self._store = store
        self.syftbox = Path(home).resolve() / "syftbox"
        self.private = private_folder(Path(home).resolve() / "private")
        keys = self.private / "keys" / "crypto_keys.json"
        self.fingerprint = ensure_keys(keys, email)
        self.book = PeerBook(self.private / "keys" / "peers.json")
        # JobClient announces on stdout that it made this folder, unless it is there.
        (self.syftbox / email).mkdir(parents=True, exist_ok=True)
        connections = [ObjectStoreConfig(email=email, store=store, book=self.book)]
        # No collection specs: PySyft would pull and write every mock on each exchange.
        cache = DataSiteOwnerEventCacheConfig(
            email=email, use_in_memory_cache=True, syftbox_folder=self.syftbox
        )
        sync = SyftboxManagerConfig(
            email=email,
            syftbox_folder=self.syftbox,
            has_do_role=merchant,
            has_ds_role=not merchant,
            use_in_memory_cache=False,
            datasite_owner_syncer_config=DatasiteOwnerSyncerConfig(
                email=email,
                syftbox_folder=self.syftbox,
                collections_folder=self.syftbox / email / COLLECTION_SUBPATH,
                connection_configs=connections,
                cache_config=cache,
            ),
            datasite_watcher_syncer_config=DatasiteWatcherSyncerConfig(
                syftbox_folder=self.syftbox,
                email=email,
                connection_configs=connections,
                datasite_watcher_cache_config=DataSiteWatcherCacheConfig(
                    email=email,
                    use_in_memory_cache=False,
                    syftbox_folder=self.syftbox,
                    connection_configs=connections,
                ),
            ),
            peer_manager_config=PeerManagerConfig(
                syftbox_folder=self.syftbox,
                email=email,
                connection_configs=connections,
                has_do_role=merchant,
                has_ds_role=not merchant,
                use_encryption=True,
                crypto_keys_path=keys,
                # The versions are pinned on both sides; the version file in the share is
                # anybody's to edit, and must not decide who is heard.
                force_ignore_peer_version=True,
                suppress_version_warnings=True,
            ),
        )
        self.config = SyftRDSClientConfig(
            sync=sync,
            job=SyftJobConfig(
                syftbox_folder=self.syftbox, current_user_email=email, has_do_role=merchant
            ),
            dataset=SyftBoxConfig(syftbox_folder=self.syftbox, email=email),
        )
        self.engine = SyftboxManager.from_config(sync)

    def check_share(self) -> None:
        """Raise TransportError if the share that this party was on has gone."""
        self._store.check()

    @property
    def connection(self) -> ObjectStoreConnection:
        """This party's view of the share."""
        found: ObjectStoreConnection = self.engine.peer_manager.connection_router.connections[0]
        return found

    @property
    def router(self) -> Any:
        """PySyft's router, which encrypts and decrypts with the shared peer store."""
        return self.engine.peer_manager.connection_router

    def client(self) -> SyftRDSClient:
        """The client over the finished engine. It has no runner: nobody's run.sh is executed."""
        client = SyftRDSClient(
            sync_engine=self.engine,
            job_client=JobClient.from_config(self.config.job),
            job_runner=None,
            dataset_manager=SyftDatasetManager.from_config(self.config.dataset),
        )
        self._meet_share(client)
        client.load_peers()
        return client

    def _meet_share(self, client: SyftRDSClient) -> None:
        """Announce this party; a share that it was on before must still be the one it was."""
        known = self.private / "share-used.txt"
        if known.exists() and known.read_text() == self._store.address:
            self._store.must_be_there()
        client.peer_manager.write_own_version()
        atomic_write_text(known, self._store.address, mode=0o600)
        self._store.must_be_there(self.connection.own_version_key)
        self._store.sweep(quoted(self.email))
        for peer in self.book.accepted():
            self._store.sweep(f"{quoted(peer)}/inbox/{quoted(self.email)}")
        sweep_leftovers(self.private / "link", "*.tmp", 3600)


def build_merchant(party: Party, **parts: Any) -> tuple[SyftRDSClient, StrictOwnerSyncer]:
    """A data owner's client whose syncer is strict. `parts`: the strict syncer's own fields."""
    stock = party.engine.datasite_owner_syncer
    strict = StrictOwnerSyncer(
        event_cache=stock.event_cache,
        write_files=stock.write_files,
        connection_router=stock.connection_router,
        email=stock.email,
        syftbox_folder=stock.syftbox_folder,
        perm_context=stock.perm_context,
        collections_folder=stock.collections_folder,
        collection_specs=[],
        **parts,
    )
    strict.connection_router.peer_store = party.engine.peer_manager.peer_store
    party.engine.datasite_owner_syncer = strict
    return party.client(), strict


def build_scientist(party: Party, **parts: Any) -> tuple[SyftRDSClient, StrictWatcherSyncer]:
    """A data scientist's client whose syncer is strict. `parts`: the strict syncer's own fields."""
    stock = party.engine.datasite_watcher_syncer
    cache = stock.datasite_watcher_cache
    # Cursors are kept elsewhere; a folder of all past events would be read at every start.
    cache.events_connection = InMemoryCacheFileConnection()
    strict = StrictWatcherSyncer(
        syftbox_folder=stock.syftbox_folder,
        email=stock.email,
        connection_router=stock.connection_router,
        datasite_watcher_cache=cache,
        **parts,
    )
    store = party.engine.peer_manager.peer_store
    strict.connection_router.peer_store = store
    cache.connection_router.peer_store = store

    def confined(path: str, is_delete: bool) -> bool:
        parts = Path(path).parts
        inside = len(parts) == 8 and parts[1:6] == ("app_data", "job", "review", party.email, "v1")
        return inside and not is_delete and ".." not in parts

    cache.pre_write_filter = confined
    party.engine.datasite_watcher_syncer = strict
    return party.client(), strict
