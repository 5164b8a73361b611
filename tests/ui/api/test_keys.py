from __future__ import annotations

import os
import stat

import pytest

from datasites.merchant import MerchantHome
from tests.ui.web.market import BARE, SHOP
from ui.api.keys import KeyRing, split_key
from ui.errors import DoorError

Homes = dict[str, MerchantHome]


def test_a_key_is_found_until_it_is_revoked(homes: Homes) -> None:
    ring = KeyRing(homes[SHOP])
    key, other = ring.new("web shop"), ring.new("till", shoppers=True, per_second=3)
    assert len(split_key(key)[1]) >= 43  # 256 bits
    service = KeyRing(homes[SHOP])
    found = service.find(other)
    assert found is not None
    assert (found.label, found.shoppers, found.per_second) == ("till", True, 3)
    ring.revoke(split_key(other)[0])
    assert service.find(other) is None
    assert service.find(key)
    with pytest.raises(DoorError, match="key list"):
        ring.revoke("00000000")


@pytest.mark.attack
def test_the_file_holds_no_secret_and_is_private(homes: Homes) -> None:
    ring = KeyRing(homes[SHOP])
    key = ring.new("web shop")
    assert split_key(key)[1] not in ring.path.read_text()
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600


@pytest.mark.attack
def test_keys_of_another_shop_and_guesses_open_nothing(homes: Homes) -> None:
    ring, other = KeyRing(homes[SHOP]), KeyRing(homes[BARE])
    key = ring.new("web shop")
    identity, secret = split_key(key)
    elsewhere = other.new("web shop")
    for guess in (
        elsewhere,
        f"tfk_{split_key(elsewhere)[0]}_{secret}",
        f"tfk_{identity}_",
        f"tfk_{identity}_{secret}x",
        f"tfk_{identity}_{ring.keys()[0].sha256}",
        secret,
        "",
        "tfk__",
        "tfk_" + "a" * 5000,
        "tfk_ä_ö",
        "\ud800",
    ):
        assert ring.find(guess) is None, guess


@pytest.mark.attack
@pytest.mark.parametrize("damage", ["open to others", "a link", "damaged", "deep", "nobody's kind"])
def test_a_file_that_cannot_be_trusted_closes_the_door(homes: Homes, damage: str) -> None:
    ring = KeyRing(homes[SHOP])
    key = ring.new("web shop")
    if damage == "open to others":
        ring.path.chmod(0o644)
    elif damage == "a link":
        ring.path.rename(ring.path.with_name("elsewhere.json"))
        os.symlink(ring.path.with_name("elsewhere.json"), ring.path)
    else:
        texts = {"damaged": '{"keys": [', "deep": "[" * 100_000, "nobody's kind": '{"keys": [1]}'}
        ring.path.write_text(texts[damage])
    with pytest.raises(DoorError):
        KeyRing(homes[SHOP]).find(key)


@pytest.mark.parametrize(
    ("label", "per_second"), [("x" * 61, 1.0), ("x", 0.0), ("x", float("nan"))]
)
def test_keys_that_make_no_sense_are_refused(homes: Homes, label: str, per_second: float) -> None:
    with pytest.raises(DoorError, match="usable key"):
        KeyRing(homes[SHOP]).new(label, per_second=per_second)


def test_keys_are_bounded(homes: Homes) -> None:
    ring = KeyRing(homes[SHOP])
    for number in range(100):
        ring.new(str(number))
    with pytest.raises(DoorError, match="Revoke"):
        ring.new("one more")
