"""Which toys a shop can send now: a list that the merchant hands over, and may change any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasites.merchant.home import MerchantHome
from datasites.private import read_private
from recsys.errors import DataError
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsys.data import Catalogue

__all__ = ["read_stock", "set_stock"]

_FILE = "stock.txt"


def set_stock(home: MerchantHome, file: Path, catalogue: Catalogue) -> tuple[int, int]:
    """Take over a CSV of what is in stock: a column item_id and, if it has one, quantity.

    Toys of other catalogues are counted and left out; a quantity of 0 means sold out.

    Returns: how many toys are in stock, and how many rows named no toy of the catalogue.
    Raises: DataError (nothing is replaced) if the file cannot be read or names no toy at all.
    Privacy: no shopper is in it; it stays at the merchant, as what it sells is its own matter.
    """
    from recsys.data.report import ReadReport
    from recsys.data.tables import Table
    from recsys.data.values import as_numbers, as_text

    # The reader of purchases: it streams, and knows what a damaged or hostile file looks like.
    table = Table(file)
    if "item_id" not in table.names:
        # The names are not repeated: of a wrong file they may be a shopper's purchase.
        raise DataError(
            f"Expected a column item_id in {table.file}, found none among its {len(table.names)} "
            "columns. Rename the column of toy ids."
        )
    wanted = [name for name in ("item_id", "quantity") if name in table.names]
    known, others = set(catalogue.item_ids), 0
    found: set[str] = set()
    listed: set[str] = set()
    for batch in table.batches(wanted, ReadReport()):
        toys = as_text(batch.columns["item_id"])
        named = toys.to_pylist()
        listed.update(toy for toy in named if toy in known)
        others += sum(toy not in known for toy in named)
        if "quantity" in batch.columns:
            left, _, bad = as_numbers(batch.columns["quantity"])
            if bad.any():
                raise DataError(
                    f"Expected numbers in the column quantity, found another text in line "
                    f"{int(batch.lines[bad][0])}. Correct it, or leave it blank for 'in stock'."
                )
            toys = toys.filter(~(left <= 0))  # a blank one counts as in stock
        found.update(toy for toy in toys.to_pylist() if toy in known)
    ids = sorted(found)
    if not listed:
        raise DataError(
            "Expected toys of this datasite's catalogue, found none of them in the list. "
            "Does its item_id column hold the catalogue's ids?"
        )
    atomic_write_text(home.serving / _FILE, "\n".join(ids) + "\n", mode=0o600)
    return len(ids), others


def read_stock(home: MerchantHome, catalogue: Catalogue) -> NDArray[np.bool_] | None:
    """Bool [n_items], which toys are in stock; None while the merchant keeps no list."""
    import numpy as np

    try:
        ids = read_private(
            home.serving / _FILE,
            lambda data: data.decode().split("\n"),
            "Hand the list of what is in stock over again.",
        )
    except FileNotFoundError:
        return None
    found: NDArray[np.bool_] = np.isin(catalogue.item_ids.astype(str), ids)
    return found
