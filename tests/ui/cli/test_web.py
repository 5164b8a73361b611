"""`toyfed web link` and `toyfed web key`, and which addresses are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from datasites.merchant import Ledger, MerchantHome, MerchantSettings, add_data
from datasites.merchant.store import load_catalogue, load_shop
from recsys.data import read_marketplace, synthesize, write_marketplace
from recsys.privacy import Budget
from tests.ui.web.market import write_purchases
from ui.api import KeyRing
from ui.cli.app import app
from ui.errors import DoorError
from ui.web.doors import DoorStore, Role
from ui.web.launch import free_port, link_to, start_server
from ui.web.manifest import Manifest, write_manifest


@pytest.fixture
def home(tmp_path: Path) -> MerchantHome:
    market = tmp_path / "market"
    write_marketplace(market, synthesize(None, merchants=1, shoppers=40, toys=30, seed=2))
    made = MerchantHome.create(
        tmp_path / "home",
        MerchantSettings(name="Castle Toys", email="castle@toyfed.local", share=str(tmp_path)),
    )
    Ledger.create(made.ledger_path, Budget(1.0, 1e-5))
    add_data(made, *write_purchases(market, read_marketplace(market)[0]))
    return made


def run(*arguments: object, told: str = "") -> tuple[int, str]:
    found = CliRunner().invoke(app, ["web", *map(str, arguments)], input=told)
    return found.exit_code, found.output


def test_keys_are_made_listed_and_revoked(home: MerchantHome) -> None:
    code, key = run("key", "new", "web shop", "--home", home.root, "--shoppers")
    assert code == 0
    found = KeyRing(home).find(key.strip())
    assert found is not None
    assert found.shoppers
    code, listed = run("key", "list", "--home", home.root)
    assert (code, found.id in listed, key.strip() in listed) == (0, True, False)
    code, text = run("key", "list", "--home", home.root, "--json")
    assert json.loads(text)[0].keys() == {"id", "label", "shoppers", "per_second", "made"}
    assert run("key", "revoke", found.id, "--home", home.root)[0] == 0
    assert KeyRing(home).find(key.strip()) is None
    assert run("key", "revoke", found.id, "--home", home.root)[0] == 1
    assert "No keys yet" in run("key", "list", "--home", home.root)[1]


def test_links_need_a_page_that_was_opened(home: MerchantHome) -> None:
    code, _ = run("link", "--datasite", home.root)
    assert code == 1
    doors = home.private / "doors.sqlite3"
    DoorStore(doors).address = "http://127.0.0.1:8501"
    shopper = str(load_shop(home, load_catalogue(home)).all.shopper_ids[3])
    code, text = run(
        *("link", "--datasite", home.root, "--shopper", "-", "--json"), told=f"{shopper}\n"
    )
    assert code == 0
    made = json.loads(text)
    assert (made["role"], made["shop"]) == ("shopper", "Castle Toys")
    address, secret = made["url"].split("#")
    assert address == "http://127.0.0.1:8501/sign-in"
    assert shopper not in made["url"]
    person = DoorStore(doors).person(DoorStore(doors).use_link(secret))
    assert person is not None
    assert (person.role, person.merchant, person.shopper) == (Role.SHOPPER, home.root, shopper)
    code, text = run("link", "--datasite", home.root)
    assert (code, text.count("#")) == (0, 1)


@pytest.mark.attack
def test_links_that_would_open_too_much_are_refused(home: MerchantHome) -> None:
    DoorStore(home.private / "doors.sqlite3").address = "http://127.0.0.1:8501"
    assert run("link", "--datasite", home.root, "--role", "demo")[0] == 1
    assert run("link", "--datasite", home.root, "--shopper", "-", told="nobody\n")[0] == 1
    code, text = run("link", "--datasite", home.root, "--shopper", "s0000001")
    assert code == 2
    assert "seen in" in text
    assert run("link", "--datasite", home.root, "--role", "owner")[0] == 2
    assert run("link")[0] == 2


@pytest.mark.attack
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104
def test_an_address_open_to_others_needs_openid(
    home: MerchantHome, tmp_path: Path, address: str
) -> None:
    write_manifest(tmp_path / "marketplace.json", Manifest(merchants=(home.root,)))
    with pytest.raises(DoorError, match=r"OpenID Connect|an IP address"):
        start_server(tmp_path / "marketplace.json", free_port(), host=address)
    code, _ = run("--datasite", home.root, "--address", address, "--no-browser")
    assert code == 1


def test_a_link_lives_as_long_as_it_was_made_for(home: MerchantHome) -> None:
    now = [1000.0]
    doors = home.private / "doors.sqlite3"
    store = DoorStore(doors, lambda: now[0])
    store.address = "http://127.0.0.1:8501"
    secret = store.new_link(Role.MERCHANT, merchant=home.root, seconds=3600)
    now[0] += 3599
    assert store.use_link(secret)
    assert link_to(doors, Role.MERCHANT, merchant=home.root).startswith("http://127.0.0.1:8501/")
