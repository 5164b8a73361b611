"""Two parties compare words over real PySyft clients, and somebody stands between them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from datasites import private
from datasites.errors import PeerError, SettingsError
from datasites.syftbox import MerchantLink, ScientistLink

pytestmark = pytest.mark.attack
SHOP, DS = "shop@example.org", "ds@example.org"


@pytest.fixture
def apart(tmp_path: Path) -> tuple[MerchantLink, ScientistLink]:
    """A merchant and a scientist who do not know each other."""
    share = str(tmp_path / "share")
    return MerchantLink(SHOP, tmp_path / "m", share), ScientistLink(DS, tmp_path / "s", share)


def test_one_reading_settles_both_directions(apart: tuple[MerchantLink, ScientistLink]) -> None:
    merchant, scientist = apart
    scientist.request_peer(SHOP)
    assert [(peer.state, peer.code) for peer in scientist.peers()] == [("requested_by_me", "")]
    with pytest.raises(PeerError, match="waiting for their key"):
        scientist.request_peer(SHOP, code="any words")
    # The merchant sees the request, and its public key is shown, before it trusts anybody.
    (asking,) = merchant.peers()
    assert asking.state == "requested_by_peer"
    assert len(asking.code.split()) == 12
    (shown,) = scientist.peers()
    assert (shown.code, shown.compared) == (asking.code, False)
    scientist.request_peer(SHOP, code=asking.code)
    merchant.approve_peer(DS, asking.fingerprint)
    scientist.sync()
    (known,) = scientist.peers()
    assert (known.state, known.compared, known.code) == ("accepted", True, asking.code)
    assert [(peer.state, peer.code) for peer in merchant.peers()] == [("accepted", asking.code)]


def test_who_stands_between_is_heard_in_the_words(tmp_path: Path) -> None:
    # The share shows each side a key of the thief's: two shares, one thief on both.
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    merchant = MerchantLink(SHOP, tmp_path / "m", here)
    as_scientist = ScientistLink(DS, tmp_path / "t1", here)
    scientist = ScientistLink(DS, tmp_path / "s", there)
    as_merchant = MerchantLink(SHOP, tmp_path / "t2", there)
    as_scientist.request_peer(SHOP)
    scientist.request_peer(SHOP)
    (at_merchant,) = merchant.peers()
    as_merchant.peers()
    (at_scientist,) = scientist.peers()
    assert at_merchant.code != at_scientist.code
    with pytest.raises(PeerError, match="Do not pair"):
        scientist.request_peer(SHOP, code=at_merchant.code)
    assert not scientist.peers()[0].compared


def test_a_changed_key_shows_both_keys_and_no_code(
    apart: tuple[MerchantLink, ScientistLink], tmp_path: Path
) -> None:
    merchant, scientist = apart
    scientist.request_peer(SHOP)
    merchant.approve_peer(DS, scientist.own_fingerprint)
    thief = ScientistLink(DS, tmp_path / "thief", str(tmp_path / "share"))
    thief.request_peer(SHOP)
    (peer,) = merchant.peers()
    assert peer.state == "key_changed"
    assert (peer.fingerprint, peer.shown_now) == (scientist.own_fingerprint, thief.own_fingerprint)
    assert peer.code == ""


def test_addresses_that_differ_in_case_alone_are_not_two_peers(
    apart: tuple[MerchantLink, ScientistLink], tmp_path: Path
) -> None:
    merchant, scientist = apart
    scientist.request_peer(SHOP)
    merchant.approve_peer(DS)
    twin = ScientistLink("DS@example.org", tmp_path / "twin", str(tmp_path / "share"))
    twin.request_peer(SHOP)
    with pytest.raises(PeerError, match="capital letters"):
        merchant.approve_peer("DS@example.org", twin.own_fingerprint)


# -- private files ---------------------------------------------------------------------------------


def keys_of(folder: Path) -> Path:
    return folder / "private" / "keys"


def test_open_modes_are_closed_again(
    apart: tuple[MerchantLink, ScientistLink], tmp_path: Path
) -> None:
    merchant, scientist = apart
    scientist.request_peer(SHOP)
    merchant.approve_peer(DS)
    keys = keys_of(tmp_path / "m")
    for path in (keys, keys.parent):
        path.chmod(0o755)
    for name in ("crypto_keys.json", "peers.json"):
        (keys / name).chmod(0o644)
    assert len(list(private.problems(keys))) == 4
    MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share")).peers()
    assert list(private.problems(keys)) == []
    for name in ("crypto_keys.json", "peers.json"):
        assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["crypto_keys.json", "peers.json"])
def test_linked_private_files_are_refused(
    apart: tuple[MerchantLink, ScientistLink], tmp_path: Path, name: str
) -> None:
    merchant, scientist = apart
    scientist.request_peer(SHOP)
    merchant.approve_peer(DS)
    file = keys_of(tmp_path / "m") / name
    elsewhere = tmp_path / "share" / "mine.json"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)
    assert any("link" in problem for problem in private.problems(file.parent))
    with pytest.raises(SettingsError, match="found a link"):
        MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share")).peers()
    assert elsewhere.exists()


def test_a_linked_keys_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "share" / "keys").mkdir(parents=True)
    (tmp_path / "m" / "private").mkdir(parents=True)
    keys_of(tmp_path / "m").symlink_to(tmp_path / "share" / "keys")
    with pytest.raises(SettingsError, match="found a link"):
        MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share"))
    assert list((tmp_path / "share" / "keys").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_keys_of_another_user_are_refused(tmp_path: Path) -> None:
    MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share"))
    os.chown(keys_of(tmp_path / "m") / "crypto_keys.json", 12345, 12345)
    with pytest.raises(SettingsError, match="another owner"):
        MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share"))


def test_a_home_inside_the_share_is_refused(tmp_path: Path) -> None:
    for home in (tmp_path / "share" / "me", tmp_path / "share"):
        with pytest.raises(SettingsError, match="inside it"):
            MerchantLink(SHOP, home, str(tmp_path / "share"))
    with pytest.raises(SettingsError, match="inside it"):
        ScientistLink(DS, tmp_path / "s", str(tmp_path / "s" / "private" / "share"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a@b.org": 3}', '{"a@b.org": ['])
def test_a_damaged_peer_list_is_said_and_not_overwritten(tmp_path: Path, text: str) -> None:
    MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share"))
    file = keys_of(tmp_path / "m") / "peers.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"peers\.json"):
        MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share")).peers()
    assert file.read_text() == text


def test_the_share_cannot_add_a_peer(tmp_path: Path) -> None:
    merchant = MerchantLink(SHOP, tmp_path / "m", str(tmp_path / "share"))
    eve = ScientistLink("eve@example.org", tmp_path / "e", str(tmp_path / "share"))
    eve.request_peer(SHOP)
    # Where stock PySyft keeps its list of accepted peers.
    listed = {"eve@example.org": {"state": "accepted"}}
    for name in ("SYFT_peers.json", "peers.json", "private/peers.json"):
        file = tmp_path / "share" / SHOP / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(listed))
    merchant.sync()
    assert [peer.state for peer in merchant.peers()] == ["requested_by_peer"]
