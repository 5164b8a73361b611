"""What a shop can send now."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasites.merchant import MerchantHome
from datasites.merchant.stock import read_stock, set_stock
from datasites.merchant.store import load_catalogue
from recsys.errors import DataError


def test_a_list_of_what_is_in_stock(home: MerchantHome, tmp_path: Path) -> None:
    catalogue = load_catalogue(home)
    assert read_stock(home, catalogue) is None
    first, second, third = catalogue.item_ids[:3]
    file = tmp_path / "stock.csv"
    file.write_text(f"item_id,quantity\n{first},3\n{second},0\n{third},\n{first},1\nother,9\n")
    assert set_stock(home, file, catalogue) == (2, 1)
    stock = read_stock(home, catalogue)
    assert stock is not None
    assert list(stock[:3]) == [True, False, True]
    assert stock.sum() == 2
    file.write_text(f"item_id\n{second}\n")
    assert set_stock(home, file, catalogue) == (1, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id\n1\n", "Expected a column item_id in .*, found none among its 1 columns"),
        ("item_id\nelsewhere\n", "found none of them"),
        ("", "the file is empty"),
        ("item_id\n\xff", "found none of them"),
    ],
)
def test_a_list_that_cannot_be_used_changes_nothing(
    home: MerchantHome, tmp_path: Path, text: str, told: str
) -> None:
    catalogue = load_catalogue(home)
    file = tmp_path / "stock.csv"
    file.write_text(f"item_id\n{catalogue.item_ids[0]}\n")
    set_stock(home, file, catalogue)
    file.write_text(text)
    with pytest.raises(DataError, match=told):
        set_stock(home, file, catalogue)
    stock = read_stock(home, catalogue)
    assert stock is not None
    assert stock.sum() == 1
