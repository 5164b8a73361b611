"""Which toys a shop can send now: a list that the merchant hands over, and may change any time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datasites.merchant.home import MerchantHome
from recsys.errors import DataError
from recsys.files import atomic_write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recsys.data import Catalogue

__all__ = ["read_stock", "set_stock"]

_FILE = "stock.txt"
_MOST_BYTES = 256 * 1024 * 1024


def set_stock(home: MerchantHome, file: Path, catalogue: Catalogue) -> tuple[int, int]:
    """Take over a CSV of what is in stock: a column item_id and, if it has one, quantity.

    Toys of other catalogues are counted and left out; a quantity of 0 means sold out.

    Returns: how many toys are in stock, and how many rows named no toy of the catalogue.
    Raises: DataError (nothing is replaced) if the file cannot be read or names no toy at all.
    Privacy: no shopper is in it; it stays at the merchant, as what it sells is its own matter.
    """
    import pandas as pd

    if Path(file).stat().st_size > _MOST_BYTES:
        raise DataError(f"Expected a list of at most {_MOST_BYTES >> 20} MB, found a larger file.")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise DataError(
            f"Expected a CSV of what is in stock, found something else ({type(error).__name__}). "
            "Export it again as CSV in UTF-8."
        ) from None
    if "item_id" not in table.columns:
        raise DataError(
            "Expected a column item_id, found "
            f"{', '.join(map(repr, list(table.columns)[:8]))}. Rename the column of toy ids."
        )
    if "quantity" in table.columns:
        left = pd.to_numeric(table["quantity"], errors="coerce")
        table = table[left.isna() | (left > 0)]
    known = table["item_id"].isin(set(catalogue.item_ids))
    ids = sorted(set(table.loc[known, "item_id"]))
    if not ids:
        raise DataError(
            "Expected toys of this datasite's catalogue, found none of them in the list. "
            "Does its item_id column hold the catalogue's ids?"
        )
    atomic_write_text(home.serving / _FILE, "\n".join(ids) + "\n", mode=0o600)
    return len(ids), int((~known).sum())


def read_stock(home: MerchantHome, catalogue: Catalogue) -> NDArray[np.bool_] | None:
    """Bool [n_items], which toys are in stock; None while the merchant keeps no list."""
    import numpy as np

    try:
        ids = (home.serving / _FILE).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return None
    found: NDArray[np.bool_] = np.isin(catalogue.item_ids.astype(str), ids)
    return found
