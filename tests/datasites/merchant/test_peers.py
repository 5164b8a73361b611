"""Who may send requests: booked by the merchant, carried out by the service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datasites.errors import PeerError
from datasites.merchant import Ledger, MerchantHome, peers
from datasites.syftbox.types import Peer

pytestmark = pytest.mark.attack
ADA = "ada@science.test"


class Peers:
    """The part of a link that knows peers."""

    own_fingerprint = "1111 2222"

    def __init__(self, fingerprint: str = "aaaa bbbb") -> None:
        self.found = Peer(ADA, "requested_by_peer", fingerprint)

    def peers(self) -> list[Peer]:
        return [self.found]

    def approve_peer(self, email: str, fingerprint: str) -> None:
        assert (email, fingerprint) == (ADA, self.found.fingerprint)
        self.found = replace(self.found, state="accepted")

    def revoke_peer(self, email: str) -> None:
        assert email == ADA
        self.found = replace(self.found, state="revoked")


def test_a_peer_is_approved_by_its_fingerprint_and_revoked(
    empty_home: MerchantHome, ledger: Ledger
) -> None:
    home, link = empty_home, Peers()
    assert peers.seen(home, ledger)["peers"] == []
    with pytest.raises(PeerError, match="found none"):
        peers.approve(home, ledger, ADA, "aaaa bbbb", by="me")
    peers.carry_out(home, ledger, link)
    assert link.found.state == "requested_by_peer"
    with pytest.raises(PeerError, match="by phone"):
        peers.approve(home, ledger, ADA, None, by="me")
    with pytest.raises(PeerError, match="Do not approve"):
        peers.approve(home, ledger, ADA, "aaaa cccc", by="me")
    peers.approve(home, ledger, ADA, " AAAA bbbb ", by="me")
    assert peers.seen(home, ledger)["peers"][0]["state"] == "approved, at the next pass"
    peers.carry_out(home, ledger, link)
    assert link.found.state == "accepted"
    peers.revoke(home, ledger, ADA, by="me")
    assert peers.seen(home, ledger)["peers"][0]["state"] == "revoked"
    peers.carry_out(home, ledger, link)
    assert link.found.state == "revoked"


def test_another_key_than_the_approved_one_is_not_accepted(
    empty_home: MerchantHome, ledger: Ledger
) -> None:
    peers.carry_out(empty_home, ledger, Peers())
    peers.approve(empty_home, ledger, ADA, "aaaa bbbb", by="me")
    impostor = Peers("eeee ffff")
    peers.carry_out(empty_home, ledger, impostor)
    assert impostor.found.state == "requested_by_peer"


def test_a_peer_list_put_back_with_an_older_key_is_not_believed(
    empty_home: MerchantHome, ledger: Ledger
) -> None:
    link = Peers()
    peers.carry_out(empty_home, ledger, link)
    peers.approve(empty_home, ledger, ADA, "aaaa bbbb", by="me")
    old = Peers("eeee ffff")
    old.found = replace(old.found, state="accepted")
    peers.carry_out(empty_home, ledger, old)
    assert old.found.state == "revoked"


def test_a_peer_is_approved_by_its_pairing_code(empty_home: MerchantHome, ledger: Ledger) -> None:
    link = Peers()
    words = "abandon ability able about above absent absorb abstract absurd abuse access accident"
    link.found = replace(link.found, code=words)
    peers.carry_out(empty_home, ledger, link)
    with pytest.raises(PeerError, match="HEARD"):
        peers.approve(empty_home, ledger, ADA, by="me")
    for wrong in ("", words.replace("able", "zoo"), words.removesuffix(" accident")):
        with pytest.raises(PeerError):
            peers.approve(empty_home, ledger, ADA, code=wrong, by="me")
    assert ledger.peers() == {}
    peers.approve(empty_home, ledger, ADA, code=words, by="me")
    peers.carry_out(empty_home, ledger, link)
    assert link.found.state == "accepted"


def test_a_peer_without_a_key_or_with_another_key_is_not_approved(
    empty_home: MerchantHome, ledger: Ledger
) -> None:
    link = Peers("")
    peers.carry_out(empty_home, ledger, link)
    for how in ({"fingerprint": ""}, {"code": "any words"}):
        with pytest.raises(PeerError, match="waiting for their key"):
            peers.approve(empty_home, ledger, ADA, **how, by="me")
    link.found = replace(Peers().found, state="key_changed", shown_now="eeee ffff")
    peers.carry_out(empty_home, ledger, link)
    with pytest.raises(PeerError, match="another key"):
        peers.approve(empty_home, ledger, ADA, "aaaa bbbb", by="me")
