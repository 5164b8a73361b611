"""The merchant console in a process of its own.

page.py HOME STUDY approve|reject|revoke     one visit with one click
page.py HOME HOME ...                        visits for ever, and approves what waits
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome, desk
from ui.web.doors import DOORS_VARIABLE, DoorStore, Role, guard

_SCRIPT = """
from pathlib import Path
from datasites.merchant import Ledger, MerchantHome, desk
from ui.web.views import decision
home = MerchantHome.open(Path({home!r}))
ledger = Ledger.open(home.ledger_path)
review = desk.review(home, ledger, {study!r})
decision.{verb}_form(home, ledger, review if {verb!r} == "approve" else {study!r})
"""


def sign_in(folder: Path) -> None:
    """Be somebody who may decide; a browser would hold this secret."""
    store = DoorStore(folder / "doors.sqlite3")
    os.environ[DOORS_VARIABLE] = str(store.path)
    secret = store.begin(Role.DEMO)
    guard.session_secret = lambda: secret


def click(home: str, study: str, verb: str) -> None:
    """Open the form, press its button."""
    page = AppTest.from_string(_SCRIPT.format(home=home, study=study, verb=verb)).run(timeout=60)
    page.button(key=f"{verb}-now").click().run(timeout=60)
    assert not page.exception, page.exception
    assert not page.error, page.error[0].value


def watch(homes: list[str]) -> None:
    """Approve whatever comes."""
    while True:
        for root in homes:
            home = MerchantHome.open(Path(root))
            for request in desk.requests(home, Ledger.open(home.ledger_path)):
                if request.status == "pending":
                    click(root, request.study, "approve")
        time.sleep(0.2)


if __name__ == "__main__":
    sign_in(Path(sys.argv[1]).parent)
    if sys.argv[-1] in ("approve", "reject", "revoke"):
        click(*sys.argv[1:4])
    else:
        watch(sys.argv[1:])
