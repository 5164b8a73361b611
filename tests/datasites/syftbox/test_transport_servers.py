"""The transport contract over real S3, SFTP and WebDAV servers, and what servers do wrong."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import time
from typing import Any

import pytest

from datasites.errors import SettingsError, TransportError
from datasites.syftbox import MerchantLink, drivers
from datasites.syftbox.store import ObjectStore
from tests.contracts.transport_contract import TransportContract
from tests.servers import Server, start_server

pytestmark = pytest.mark.slow
_FOLDERS = itertools.count()


def _empty(server: Server) -> str:
    """Another, still empty, share on the server."""
    name = f"t{next(_FOLDERS)}"
    if server.kind != "s3":
        (server.folder / "share" / name).mkdir()
    return f"{server.share}/{name}"


class ServerContract(TransportContract):
    kind = ""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory):
        server = start_server(cls.kind, tmp_path_factory.mktemp(cls.kind))
        yield server
        server.kill()

    @pytest.fixture
    def share(self, server):
        address = _empty(server)
        return lambda: ObjectStore(address, options=server.options)

    def test_odd_addresses_empty_objects_and_deleting_twice(self, share):
        store = share()
        store.put("a.b+toys@b-c.org/x", b"")
        assert share().get("a.b+toys@b-c.org/x", 5) == b""
        assert share().folders("") == ["a.b+toys@b-c.org"]
        for _ in range(2):
            store.delete("a.b+toys@b-c.org/x")
        assert share().get("a.b+toys@b-c.org/x", 5) is None
        # A folder that another party removed is made again.
        store.put("d/e/f", b"1")
        share().delete("d")
        with pytest.raises(TransportError):
            store.get("../x", 1)
        for _ in range(2):
            try:
                store.put("d/e/f", b"2")
                break
            except TransportError:
                continue
        assert share().get("d/e/f", 5) == b"2"

    def test_another_process_and_a_forked_one_use_the_share(self, share):
        store = share()
        store.put("a/x", b"1")
        context = multiprocessing.get_context("fork")
        child = context.Process(target=store.put, args=("a/y", b"2"))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert store.get("a/y", 5) == b"2"
        assert store.get("a/x", 5) == b"1"

    def test_a_killed_server_is_told_in_time_and_found_again(self, tmp_path):
        server = start_server(self.kind, tmp_path / "server")
        try:
            store = ObjectStore(server.share, options=server.options)
            store.put("a/x", b"1")
            server.kill()
            for act in (
                lambda: store.get("a/x", 5),
                lambda: store.put("a/x", b"2"),
                lambda: store.files("a"),
                lambda: store.delete("a/x"),
            ):
                begun = time.monotonic()
                with pytest.raises(TransportError, match="share"):
                    act()
                assert time.monotonic() - begun < drivers._CALL_SECONDS
            server.start()
            store.put("a/x", b"3")
            assert store.get("a/x", 5) == b"3"
        finally:
            server.kill()

    @pytest.mark.attack
    def test_a_server_that_hangs_is_given_up_in_time(self, tmp_path, monkeypatch):
        server = start_server(self.kind, tmp_path / "server")
        try:
            store = ObjectStore(server.share, options=server.options)
            store.put("a/x", b"1")
            monkeypatch.setattr(drivers, "_CALL_SECONDS", 1.5)
            server.signal(signal.SIGSTOP)
            for act in (lambda: store.get("a/x", 5), lambda: store.put("a/x", b"2")):
                begun = time.monotonic()
                with pytest.raises(TransportError, match="does not answer"):
                    act()
                assert time.monotonic() - begun < 30
            server.signal(signal.SIGCONT)
            monkeypatch.undo()
            store.put("a/x", b"3")
            assert store.get("a/x", 5) == b"3"
        finally:
            server.kill()

    @pytest.mark.attack
    def test_an_emptied_share_is_not_taken_for_a_quiet_one(self, share):
        store, other = share(), share()
        store.check()
        store.put("me/version.json", b"{}")
        store.put("other/x", b"1")
        store.must_be_there("me/version.json")
        store.check()
        other.delete("me")
        store.check()  # another's doing, and the share is still there
        other.delete("other")
        with pytest.raises(TransportError, match="empty or missing"):
            store.check()
        other.put("me/version.json", b"{}")
        store.check()


class TestS3(ServerContract):
    kind = "s3"

    def test_a_listing_of_several_pages(self, share):
        store = share()
        fs: Any = store._far._connected()
        fs.pipe({f"{store._far._path('many')}/{n:04}": b"1" for n in range(1005)})
        assert len(store.files("many")) == 1005
        assert len(store.files("many", 10)) == 10


class TestSftp(ServerContract):
    kind = "sftp"

    @pytest.mark.attack
    def test_an_unknown_or_changed_host_key_is_refused(self, server, tmp_path):
        address = _empty(server)
        (tmp_path / "none").write_text("")
        store = ObjectStore(
            address, options=server.options | {"known_hosts": str(tmp_path / "none")}
        )
        with pytest.raises(TransportError, match="host key"):
            store.put("a/x", b"1")

    @pytest.mark.attack
    def test_without_a_setting_the_users_known_hosts_decide(self, server, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        options = {"password": "of-toys"}
        with pytest.raises(TransportError, match="host key"):
            ObjectStore(_empty(server), options=options).put("a/x", b"1")

    def test_a_wrong_password_is_explained_and_not_repeated(self, server):
        store = ObjectStore(_empty(server), options=server.options | {"password": "hunter2"})
        with pytest.raises(TransportError, match="sign you in") as raised:
            store.put("a/x", b"1")
        assert "hunter2" not in str(raised.value)


class TestWebdav(ServerContract):
    kind = "webdav"

    @pytest.mark.attack
    def test_a_merchant_says_that_the_folder_is_gone_and_goes_on(self, server, tmp_path):
        address = f"webdav://127.0.0.1:{server.port}/open"
        link = MerchantLink("shop@example.org", tmp_path / "shop", address)
        link.sync()
        folder, elsewhere = server.folder / "open", server.folder / "elsewhere"
        folder.rename(elsewhere)
        with pytest.raises(TransportError):
            link.sync()
        folder.mkdir()
        with pytest.raises(TransportError, match="Put it back"):
            link.sync()
        assert not any(folder.iterdir())
        folder.rmdir()
        elsewhere.rename(folder)
        link.sync()

    def test_a_wrong_password_is_explained_and_not_repeated(self, server):
        store = ObjectStore(_empty(server), options=server.options | {"password": "hunter2"})
        with pytest.raises(TransportError, match="sign you in") as raised:
            store.put("a/x", b"1")
        assert "hunter2" not in str(raised.value)


@pytest.mark.attack
@pytest.mark.parametrize("share", ["sftp://toys:hunter2@h/x", "webdavs://h/x?token=hunter2"])
def test_an_address_with_a_password_is_refused_without_showing_it(share):
    with pytest.raises(SettingsError, match="share-options") as raised:
        ObjectStore(share)
    assert "hunter2" not in str(raised.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(TransportError, match=r"toyfed\[s3\]"):
        ObjectStore("s3://b").get("a", 1)
