"""Who may send requests: booked by the merchant, carried out by the service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from datasites.errors import PeerError
from datasites.merchant import Ledger, MerchantHome, peers
from datasites.syftbox.types import Peer

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
