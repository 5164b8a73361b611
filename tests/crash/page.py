"""One visit of the merchant console in a process of its own: page.py HOME STUDY approve|..."""

from __future__ import annotations

import sys

from streamlit.testing.v1 import AppTest

_SCRIPT = """
from pathlib import Path
from datasites.merchant import Ledger, MerchantHome, desk
from ui.web.views import decision
home = MerchantHome.open(Path({home!r}))
ledger = Ledger.open(home.ledger_path)
review = desk.review(home, ledger, {study!r})
decision.{verb}_form(home, ledger, review if {verb!r} == "approve" else {study!r})
"""


def main() -> None:
    home, study, verb = sys.argv[1:4]
    page = AppTest.from_string(_SCRIPT.format(home=home, study=study, verb=verb)).run(timeout=60)
    page.button(key=f"{verb}-now").click().run(timeout=60)
    assert not page.exception, page.exception


if __name__ == "__main__":
    main()
