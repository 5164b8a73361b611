"""The transport contract over a local folder and over fsspec's memory."""

from __future__ import annotations

import os
import uuid

import pytest

from datasites.errors import TransportError
from datasites.syftbox.store import ObjectStore
from tests.contracts.transport_contract import TransportContract


class TestLocalFolder(TransportContract):
    @pytest.fixture
    def share(self, tmp_path):
        return lambda: ObjectStore(str(tmp_path / "share"))


class TestFileUrl(TransportContract):
    @pytest.fixture
    def share(self, tmp_path):
        return lambda: ObjectStore((tmp_path / "share").as_uri())


class TestMemory(TransportContract):
    @pytest.fixture
    def share(self):
        root = f"memory://toyfed-{uuid.uuid4().hex}"
        return lambda: ObjectStore(root)


def test_an_unknown_kind_of_share_is_explained():
    with pytest.raises(TransportError, match="fsspec URL"):
        ObjectStore("nonsense://x")


def test_a_share_that_refuses_is_explained_without_its_address(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    store = ObjectStore(str(tmp_path / "file"))
    with pytest.raises(TransportError, match="could not write") as raised:
        store.put("a@b.org/x", b"")
    assert str(tmp_path) not in str(raised.value)


def test_links_and_pipes_on_a_shared_disk_are_not_followed(tmp_path):
    store = ObjectStore(str(tmp_path / "share"))
    store.put("a@b.org/x/plain", b"1")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "share/a@b.org/x/link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "share/a@b.org/x/pipe")
    assert store.files("a@b.org/x") == [("plain", 1)]
    assert store.get("a@b.org/x/link", 100) is None
    assert store.get("a@b.org/x/pipe", 100) is None
