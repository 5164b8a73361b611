"""The merchant's tab of peers and refused messages: words to compare, decisions, nothing run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome, peers, refused
from datasites.pairing import pairing_code
from tests.ui.web.market import SHOP, texts
from ui.web.doors import Role

pytestmark = pytest.mark.attack
ADA = "ada@science.test"
CODE = pairing_code("castle@toys.test", "a" * 64, ADA, "b" * 64)
NASTY = "<script>alert(1)</script> [x](javascript:1) **bold** $\\frac{1}{2}$"
OpenPage = Callable[[str], AppTest]


@pytest.fixture
def shop(homes: dict[str, MerchantHome]) -> MerchantHome:
    return homes[SHOP]


def write_peers(home: MerchantHome, **more: str) -> None:
    peer = {"email": ADA, "state": "requested_by_peer", "fingerprint": "bbbb " * 7 + "bbbb"}
    facts = {"own_fingerprint": "aaaa", "peers": [{**peer, "code": CODE, "shown_now": "", **more}]}
    (home.private / "peers.json").write_text(json.dumps(facts))


def test_a_peer_is_paired_by_its_words_and_revoked(
    manifest: Path, shop: MerchantHome, open_page: OpenPage
) -> None:
    write_peers(shop)
    page = open_page("merchant")
    assert CODE in [row for table in page.dataframe for row in table.value.astype(str).values.flat]
    assert page.button("peer-pair").disabled
    page.text_input("peer-code").set_value("zoo " * 12).run()
    page.button("peer-pair").click().run()
    assert any("Do not pair" in error.value for error in page.error)
    ledger = Ledger.open(shop.ledger_path)
    assert ledger.peers() == {}
    page.text_input("peer-code").set_value(CODE.upper()).run()
    page.button("peer-pair").click().run()
    assert not page.exception
    assert list(ledger.peers()) == [ADA]
    assert peers.seen(shop, ledger)["peers"][0]["state"] == "approved, at the next pass"
    page.button("peer-revoke").click().run()
    assert ledger.peers() == {ADA: ""}


def test_others_cannot_pair_or_clear(
    manifest: Path, shop: MerchantHome, open_page: OpenPage, sign_in: Callable[..., str]
) -> None:
    write_peers(shop)
    refused.quarantine(shop).put(ADA, "noise", b"x")
    page = open_page("merchant")
    page.text_input("peer-code").set_value(CODE).run()
    # The session ends, or becomes another's, while the page is open.
    sign_in(Role.ANALYST)
    for key in ("peer-pair", "peer-revoke", "quarantine-clear"):
        for button in [one for one in page.button if one.key == key]:
            button.click().run()
    assert Ledger.open(shop.ledger_path).peers() == {}
    assert len(refused.quarantine(shop).entries()) == 1


def test_a_changed_key_shows_both(manifest: Path, shop: MerchantHome, open_page: OpenPage) -> None:
    write_peers(shop, state="key_changed", shown_now="cccc dddd", code="")
    page = open_page("merchant")
    assert any("not the one you paired with" in error.value for error in page.error)
    assert any("cccc dddd" in code.value for code in page.code)


def test_what_peers_wrote_is_shown_as_text(
    manifest: Path, shop: MerchantHome, open_page: OpenPage
) -> None:
    refused.quarantine(shop).put(NASTY, NASTY + "\x1b[2J\n", b"\x00" * 10)
    page = open_page("merchant")
    assert not page.exception
    (table,) = [one.value for one in page.dataframe if "why" in one.value.columns]
    assert table["why"][0].startswith(NASTY)
    assert table["why"][0].isprintable()
    # In the table alone: nowhere where markup would be read.
    assert NASTY not in texts(page)
    page.button("quarantine-clear").click().run()
    assert refused.quarantine(shop).entries() == []


def test_a_damaged_list_is_said(manifest: Path, shop: MerchantHome, open_page: OpenPage) -> None:
    (shop.private / "peers.json").write_text("{")
    assert any("peers.json" in error.value for error in open_page("merchant").error)
