"""Revoking while a long run is under way: real processes, a real share, a real sandbox."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from datasites.merchant import Ledger, MerchantHome, desk, peers
from datasites.protocol import Proposal, Round
from datasites.recipes import recipe_named
from datasites.syftbox import ScientistLink

pytestmark = [pytest.mark.attack, pytest.mark.e2e]
ADA = "ada@science.test"
ROOT = Path(__file__).parents[3]
SLOW = b"import time\ntime.sleep(120)\n"


@contextmanager
def serving(home: MerchantHome) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "datasites.merchant", str(home.root)]
    service = subprocess.Popen(command, cwd=ROOT)
    try:
        yield service
    finally:
        service.terminate()
        try:
            service.wait(20)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def descendants(service: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(service.pid).children(recursive=True)


@pytest.mark.parametrize("what", ["peer", "study"])
def test_a_long_run_ends_when_its_peer_or_study_is_revoked(
    home: MerchantHome, ledger: Ledger, make_proposal: Callable[..., Proposal], what: str
) -> None:
    shop = home.settings.email
    ada = ScientistLink(ADA, home.root.parent / "ada", home.settings.share)
    ada.request_peer(shop)
    code = {
        file.name: file.read_bytes() for file in recipe_named("private-als").code.glob("*.py")
    } | {"main.py": SLOW}
    proposal = make_proposal()
    with serving(home) as service:
        (peer,) = until(lambda: peers.seen(home, ledger)["peers"])
        peers.approve(home, ledger, ADA, code=peer["code"], by="me")
        until(lambda: ada.sync() and ada.peers()[0].state == "accepted")
        ada.submit(shop, "toys-proposal", code, proposal.model_dump(mode="json"))
        until(lambda: desk.requests(home, ledger))
        desk.approve(home, ledger, "toys", by="me", read_foreign_code=True)
        until(lambda: ada.sync() and ada.reply(shop, "toys-proposal").status == "done")
        order = Round(study="toys", phase="counts", proposal_sha256=proposal.sha256)
        ada.submit(shop, "toys-counts", code, order.model_dump(mode="json"))
        until(lambda: ledger.state_of("toys-counts") == "reserved" and descendants(service))
        time.sleep(1)
        assert descendants(service)

        # As another process does it: the command line, or the page.
        other = Ledger.open(home.ledger_path)
        begun = time.monotonic()
        if what == "peer":
            peers.revoke(home, other, ADA, by="me")
        else:
            desk.revoke(home, other, "toys", by="me")
        until(lambda: not descendants(service), 30)
        # The code sleeps for two minutes.
        assert time.monotonic() - begun < 30
        until(lambda: ledger.state_of("toys-counts") == "failed")
        assert service.poll() is None
        assert ledger.spent().epsilon > 0
        assert ledger.approval("toys") is None
        if what == "study":
            until(lambda: ada.sync() and ada.reply(shop, "toys-counts").status == "failed")
            assert ada.reply(shop, "toys-counts").files == {}
        else:
            until(lambda: peers.seen(home, ledger)["peers"][0]["state"] == "revoked")
            ada.submit(shop, "toys-again", code, {"kind": "round"})
            time.sleep(2)
            ada.sync()
            assert ada.reply(shop, "toys-counts").status == "waiting"
            assert ada.reply(shop, "toys-again").status == "waiting"
            outbox = Path(home.settings.share) / shop / "outbox" / ADA
            assert not outbox.exists() or not list(outbox.iterdir())
    ledger.verify()
