"""A merchant's purchases: checked, kept outside the synced folder, and never shown to peers.

What peers see instead is a mock: invented purchases over the public catalogue, made without
looking at a single real one.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasites.errors import ReviewError
from datasites.merchant.forget import remembered
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import EARLIER, Ledger
from datasites.merchant.stale import data_turn, mark_stale, sweep_copies
from recsys.files import atomic_path, atomic_write_text

if TYPE_CHECKING:
    # Reading tables takes 80 MB of libraries, which the service, up for months, never needs.
    from recsys.data import Catalogue, ReadReport, Shop

__all__ = ["MOCK_SHOPPERS", "add_data", "load_catalogue", "load_shop", "mock_files"]

MOCK_SHOPPERS = 50


def add_data(
    home: MerchantHome,
    purchases: Path,
    catalogue: Path,
    columns: Mapping[str, str] | None = None,
    merchant: str | None = None,
) -> tuple[Shop, ReadReport]:
    """Check one merchant's purchases and put them in place; replaces what was there.

    Shoppers who asked to be forgotten are left out, see `forget`. Of a file with several merchants'
    purchases, `merchant` says whose.

    Privacy: stays at the merchant; the report holds line numbers and counts, no values.
    Raises DataError (nothing is replaced) if a file cannot be used, ReviewError if approved
    studies run on the present data: their guarantee is about one fixed history per shopper.
    """
    from recsys.data import Shop, read_catalogue, read_purchases, write_catalogue, write_shop

    public, catalogue_report = read_catalogue(catalogue)
    bought, report = read_purchases(purchases, public, dict(columns or {}), merchant)
    shop = Shop.from_split(home.settings.name, bought.split_or_leave_one_out())
    report = report.merged(catalogue_report)
    with data_turn(home):
        # Within the turn: who asks to be forgotten meanwhile waits, and is taken out afterwards.
        forgotten = remembered(home, shop.all.shopper_ids.astype(str))
        shop = shop.rows(~forgotten)
        if (home.data / "shop.parquet").exists() and _has_released(home):
            raise ReviewError(
                "expected a datasite without runs; studies have already run on the data that is "
                "here, and what they cost was booked for just these purchases. For new data export "
                "the ledger (`toyfed datasite ledger export FILE`) and make a new datasite with "
                "`toyfed datasite init ... --spent-before FILE --forgotten-from HOME`, where HOME "
                "is this one: what these shoppers have spent counts there, and who asked to be "
                "forgotten stays away."
            )
        if (home.data / "shop.parquet").exists() and (studies := _approved(home)):
            raise ReviewError(
                f"expected no study that is approved and has not ended, found {studies}: they were "
                "approved for the purchases and the catalogue that are here. Revoke them first "
                "(`toyfed datasite revoke STUDY`)."
            )
        (home.private / "mock-published").unlink(missing_ok=True)  # the service makes it anew
        # Both are whole on the disk before either takes its place: toys are numbered by the
        # catalogue.
        with (
            atomic_path(home.data / "shop.parquet", 0o600) as new_shop,
            atomic_path(home.data / "catalogue.parquet") as new_catalogue,
        ):
            write_catalogue(new_catalogue, public)
            write_shop(new_shop, shop, public)
            mark_stale(home)  # what was learned from the purchases that go now
        sweep_copies(home)
        (home.private / "mock-published").unlink(missing_ok=True)  # if it was made just then
    facts = {
        "added_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": purchases.name,
        "rows_read": report.rows_read,
        "rows_kept": report.rows_kept,
        "problems": report.counts,
        "forgotten_shoppers": int(forgotten.sum()),
    }
    atomic_write_text(home.private / "data-report.json", json.dumps(facts), mode=0o600)
    os.chmod(home.data, 0o700)
    return shop, report


def _has_released(home: MerchantHome) -> bool:
    if not home.ledger_path.exists():
        return False
    return bool(Ledger.open(home.ledger_path).spent_by_study().keys() - {EARLIER})


def _approved(home: MerchantHome) -> str:
    """Studies whose approval stands, in words; "" if there are none."""
    if not home.ledger_path.exists():
        return ""
    ledger = Ledger.open(home.ledger_path)
    studies = sorted({request.study for request in ledger.requests()})
    return ", ".join(study for study in studies if ledger.approval(study) is not None)


def load_catalogue(home: MerchantHome) -> Catalogue:
    """The public catalogue that this datasite uses."""
    from recsys.data import read_catalogue

    return read_catalogue(home.data / "catalogue.parquet")[0]


def load_shop(home: MerchantHome, catalogue: Catalogue) -> Shop:
    """The merchant's purchases. Privacy: stays at the merchant."""
    from recsys.data import read_shop

    return read_shop(home.data / "shop.parquet", catalogue)


def mock_files(catalogue: Catalogue) -> dict[str, bytes]:
    """Invented purchases in the schema of the real ones, for data scientists to try code on.

    Privacy: made from the public catalogue and a fixed seed alone; releases nothing.
    """
    generator = np.random.default_rng(0)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["shopper_id", "item_id", "position"])
    for shopper in range(MOCK_SHOPPERS):
        count = int(generator.integers(3, 12))
        items = generator.choice(
            catalogue.n_items, size=min(count, catalogue.n_items), replace=False
        )
        table.writerows(
            [f"mock-{shopper}", str(catalogue.item_ids[item]), position]
            for position, item in enumerate(items)
        )
    return {"mock.csv": text.getvalue().encode()}
