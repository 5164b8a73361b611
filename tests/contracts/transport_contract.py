"""What every store under PySyft's transport must do. Inherit, and give a `share` fixture."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from syft.sync.peers.peer_store import PeerStore
from syft.sync.version.version_info import VersionInfo

from datasites.errors import TransportError
from datasites.syftbox.peers import PeerBook
from datasites.syftbox.store import ObjectStore, OversizeError
from datasites.syftbox.transport import ObjectStoreConfig, ObjectStoreConnection

SHOP, DS = "shop@example.org", "ds@example.org"


class TransportContract:
    """The suite. `share()` makes another ObjectStore over the same, at first empty, share."""

    @pytest.fixture
    def share(self, tmp_path: Path) -> Callable[[], ObjectStore]:
        raise NotImplementedError

    @pytest.fixture
    def shop(self, share, tmp_path) -> ObjectStoreConnection:
        return self._party(share, tmp_path, SHOP)

    @pytest.fixture
    def ds(self, share, tmp_path) -> ObjectStoreConnection:
        return self._party(share, tmp_path, DS)

    def _party(self, share, tmp_path, email) -> ObjectStoreConnection:
        book = PeerBook(tmp_path / email / "peers.json")
        config = ObjectStoreConfig(email=email, store=share(), book=book)
        connection = ObjectStoreConnection.from_config(config)
        assert isinstance(connection, ObjectStoreConnection)
        return connection

    # -- the store ---------------------------------------------------------------------------

    def test_an_object_is_read_as_written_by_everybody(self, share):
        share().put("a@b.org/x/y.bin", bytes(range(256)))
        assert share().get("a@b.org/x/y.bin", 256) == bytes(range(256))
        share().put("a@b.org/x/y.bin", b"new")
        assert share().get("a@b.org/x/y.bin", 256) == b"new"
        assert share().files("a@b.org/x") == [("y.bin", 3)]
        assert share().folders("a@b.org") == ["x"]
        assert share().files("a@b.org") == []

    def test_what_is_not_there(self, share):
        assert share().get("a@b.org/none", 10) is None
        assert share().files("a@b.org/none") == []
        assert share().folders("a@b.org/none") == []
        share().delete("a@b.org/none")
        share().put("a@b.org/x/y", b"1")
        assert share().get("a@b.org/x", 10) is None
        share().delete("a@b.org/x")
        assert share().get("a@b.org/x/y", 10) is None

    def test_nothing_larger_than_the_limit_is_read(self, share):
        share().put("a@b.org/big", b"12345")
        assert share().get("a@b.org/big", 5) == b"12345"
        with pytest.raises(OversizeError):
            share().get("a@b.org/big", 4)

    @pytest.mark.parametrize(
        "key",
        ["", "/", "/etc/x", "../x", "a/../x", "a/./x", "a//x", "a/", "a\\..\\x", "a\nx", "..", "."],
    )
    def test_keys_stay_below_the_share(self, share, key):
        store = share()
        for act in (
            lambda: store.put(key, b""),
            lambda: store.get(key, 1),
            lambda: store.delete(key),
        ):
            with pytest.raises(TransportError):
                act()

    def test_readers_never_see_a_half(self, share):
        texts = [bytes([n]) * 200_000 for n in range(4)]
        share().put("a@b.org/x", texts[0])
        wrong: list[int] = []
        read_whole = 0
        done = threading.Event()

        def read() -> None:
            nonlocal read_whole
            store = share()
            while not done.is_set():
                # A store without an atomic rename may show nothing for a moment, or answer with
                # an error; never a part.
                with contextlib.suppress(TransportError):
                    data = store.get("a@b.org/x", 10**6)
                    if data in texts:
                        read_whole += 1
                    elif data is not None:
                        wrong.append(len(data))

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(40):
            share().put("a@b.org/x", texts[turn % 4])
        done.set()
        reader.join()
        assert wrong == []
        assert read_whole > 0
        assert [name for name, _ in share().files("a@b.org")] == ["x"]

    # -- messages ----------------------------------------------------------------------------

    def test_inbox_messages_come_oldest_first_and_go(self, shop, ds):
        for when, text in (("20.5", b"b"), ("3.5", b"a"), ("100.5", b"c")):
            ds.watcher_send_raw_bytes_to_inbox(SHOP, f"msgv2_{when}_id.tar.gz", text)
        ds.add_peer(SHOP)
        found = []
        while True:
            message = shop.owner_download_next_raw_proposed_message_from_inbox(DS)
            if message is None:
                break
            found.append(message[0])
            shop.delete_file_by_id(message[1])
        assert found == [b"a", b"b", b"c"]
        assert shop.get_peer_requests() == [DS]

    def test_outbox_shows_what_came_after(self, shop, ds):
        for when in ("20.5", "3.5", "100.5"):
            name = f"syfteventsmessagev3_{when}_12345678-1234-5678-1234-567812345678.tar.gz"
            shop.owner_write_raw_bytes_to_outbox(DS, name, when.encode())
        rows = ds.watcher_get_outbox_file_metadatas(SHOP, 3.5)
        assert [row["timestamp"] for row in rows] == [20.5, 100.5]
        assert [ds.download_file(row["file_id"]) for row in rows] == [b"20.5", b"100.5"]
        assert ds.watcher_download_raw_events_from_outbox(SHOP, None)[0] == b"3.5"
        oldest, *_ = ds.outbox_names(SHOP, DS)
        assert ds.read_reply_message(SHOP, oldest) == b"3.5"
        shop.clear_outbox(DS, oldest)
        assert ds.read_reply_message(SHOP, oldest) is None
        assert [r["timestamp"] for r in ds.watcher_get_outbox_file_metadatas(SHOP, None)] == [
            20.5,
            100.5,
        ]
        shop.clear_outbox(DS)
        assert ds.outbox_names(SHOP, DS) == []
        assert shop.read_receipt(DS) is None
        ds.write_receipt(SHOP, b"signed")
        assert shop.read_receipt(DS) == b"signed"

    def test_a_party_deletes_only_its_own(self, shop, ds):
        shop.write_version_file(VersionInfo.current())
        for key in (f"{SHOP}/version.json", SHOP, f"{DS}/../{SHOP}/version.json", "/x"):
            with pytest.raises(TransportError):
                ds.delete_file_by_id(key)
        assert ds.read_peer_version_file(SHOP) is not None
        shop.delete_multiple_files_by_ids([f"{SHOP}/version.json"])
        assert ds.read_peer_version_file(SHOP) is None

    def test_message_names_hold_no_folders(self, shop, ds):
        with pytest.raises(TransportError):
            ds.watcher_send_raw_bytes_to_inbox(SHOP, "../../msgv2_1.0_x", b"")
        with pytest.raises(TransportError):
            shop.owner_write_raw_bytes_to_outbox(DS, "a/b", b"")

    # -- collections -------------------------------------------------------------------------

    def test_a_collection_is_listed_for_those_it_is_shared_with(self, shop, ds):
        ds.book.update(SHOP, "accepted")
        shop.owner_create_collection_folder("mock", "toys", "h1", SHOP)
        shop.owner_upload_collection_files("mock", "toys", "h1", {"a.csv": b"1", "b.csv": b"2"})
        assert ds.collections_of(SHOP, "mock") == []
        shop.owner_share_collection("mock", "toys", "h1", [DS])
        assert ds.collections_of(SHOP, "mock") == [
            {"owner_email": SHOP, "tag": "toys", "content_hash": "h1"}
        ]
        assert ds.collections_of(SHOP, "other") == []
        found = ds.watcher_download_collection("mock", "toys", "h1", SHOP)
        assert found == {"a.csv": b"1", "b.csv": b"2"}
        assert shop.owner_list_collections("mock") == ["toys"]
        (listed,) = shop.owner_list_all_collections_with_permissions("mock")
        assert (listed.tag, listed.has_any_permission) == ("toys", False)
        shop.owner_tag_collection_as_any("mock", "toys", "h1")
        (listed,) = shop.owner_list_all_collections_with_permissions("mock")
        assert listed.has_any_permission
        shop.owner_delete_collection("mock", "toys")
        assert shop.owner_list_collections("mock") == []
        assert ds.watcher_download_collection("mock", "toys", "h1", SHOP) == {}

    @pytest.mark.parametrize("part", ["", "..", "a/b", "a_b", "../x", "a..b", "/x"])
    def test_collection_names_stay_in_their_folder(self, shop, part):
        for names in ((part, "t", "h"), ("p", part, "h"), ("p", "t", part)):
            with pytest.raises(TransportError):
                shop.owner_create_collection_folder(*names, SHOP)
        with pytest.raises(TransportError):
            shop.owner_create_collection_folder("p", "t", "h", DS)

    # -- another party's files are not trusted -----------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 60_000, b"x" * 100_000])
    def test_damaged_small_files_read_as_none(self, shop, ds, share, data):
        for name in ("version.json", f"bundles/{SHOP}.json"):
            share().put(f"{DS}/{name}", data)
        assert shop.read_peer_version_file(DS) is None
        assert shop.read_peer_encryption_bundle(DS) is None

    def test_a_key_made_for_another_is_not_shown(self, shop, ds):
        for made_for, shown in ((DS, True), ("other@example.org", False)):
            keys = PeerStore(email=made_for, use_encryption=True)
            keys.generate_keys()
            bundle = {"public_encryption_bundle": keys.get_public_bundle()}
            ds.write_encryption_bundle(SHOP, json.dumps(bundle))
            assert (shop.read_peer_encryption_bundle(DS) is not None) == shown
