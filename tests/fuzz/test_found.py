"""What bad input at random found, as the smallest inputs that did it."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasites.merchant.home import MerchantHome, MerchantSettings
from datasites.merchant.scan import scan_code
from datasites.merchant.stock import read_stock, set_stock
from recsys.data import read_catalogue, read_purchases, read_shop
from recsys.data.amazon_reviews import read_amazon_reviews
from recsys.errors import DataError, PrivacyError
from recsys.privacy import event_from_dict
from tests.fuzz.engine import protected
from tests.fuzz.targets_data import TARGETS as DATA
from tests.fuzz.targets_data import TOYS
from tests.fuzz.targets_messages import TARGETS as MESSAGES
from tests.fuzz.targets_models import TARGETS as MODELS
from tests.fuzz.targets_settings import MERCHANT, STUDY
from tests.fuzz.targets_settings import TARGETS as SETTINGS

pytestmark = pytest.mark.attack
TARGETS = {target.name: target for target in (*DATA, *MESSAGES, *MODELS, *SETTINGS)}
DEEP, DIGITS = b"[" * 5000, b"9" * 5000


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("study-toml", b"x = " + DEEP),
        ("study-toml", b"x = " + DIGITS),
        ("study-toml", STUDY.replace(b"epsilon = 1.0", b"epsilon = " + b"9" * 400)),
        ("study-toml", STUDY.replace(b"factors = 4", b"alpha = " + b"9" * 400)),
        ("merchant-toml", b"x = " + DEEP),
        ("merchant-toml", MERCHANT + b"x = " + DIGITS),
        ("scientist-toml", b"x = " + DEEP),
        ("scientist-toml", b"x = " + DIGITS),
        ("sign-in-toml", b"x = " + DEEP),
        ("sign-in-toml", b"x = " + DIGITS),
        ("ledger-record", b"nonsense"),
        ("ledger-record", DEEP),
        ("ledger-record", b"[]"),
        ("quarantine", b'{"sender": 1, "reason": [], "at": 1}'),
        ("quarantine", b'{"a":' * 5000),
        ("study-journal", b"[]\n" + DEEP + b"\n7\n"),
        ("page-manifest", b'{"merchants": ["a\\u0000"]}'),
        ("page-manifest", DEEP),
        ("page-manifest", b'{"merchants": ["' + b"x" * 5000 + b'"]}'),
        ("ledger-head", DEEP),
        ("page-report", DEEP),
        ("amazon-reviews", DEEP),
        ("amazon-meta", DEEP + b"\n"),
        ("amazon-meta", b'{"parent_asin": "A", "categories": "Toys", "images": 7}'),
        ("amazon-meta", b'{"parent_asin": "A", "categories": {"x": 1}, "images": {"a": 1}}'),
        ("page-report", b'{"results": [9223372036854775808, "x", "x"]}'),
        (
            "verify-arrays",
            b'{"item_embeddings": ["F32", [6, 3333], [0.1]], "item_counts": ["F64", [6], [1.0]]}',
        ),
        ("verify-settings", b'{"model": ""}'),
        ("verify-settings", b'{"model": 1e308}'),
        ("verify-settings", b'{"model": {"factors": []}}'),
        ("scan-python", b"a" + b".b" * 2900),
        ("stock-csv", b"item_id" + b",item_id" * 8000 + b"\ntoy-0\n"),
        ("page-preview", b"item_id" + b",item_id" * 8000 + b"\ntoy-0\n"),
        ("page-preview", b"a,b\n\x80,1\n"),
        ("purchases-parquet", parquet(shopper_id=[{"a": 1}], item_id=["toy-0"], day=["2024"])),
        ("purchases-parquet", parquet(shopper_id=[b"\xff"], item_id=["toy-0"], day=["2024"])),
        ("catalogue-parquet", parquet(item_id=[["toy-0"]], title=["x"])),
        ("page-preview", parquet(a=[[1, 2]], b=[b"\xff"])),
    ],
)
def test_it_is_refused_in_words(name: str, data: bytes) -> None:
    assert protected(TARGETS[name], data)[0] == ""


def test_a_number_of_hundreds_of_digits_is_no_sigma() -> None:
    row = {"type": "gaussian", "what": "x", "sensitivity": 10**400, "sigma": 1.0}
    with pytest.raises(PrivacyError, match="finite number above 0"):
        event_from_dict(row)


def test_code_in_an_encoding_that_people_do_not_see_is_pointed_at() -> None:
    (found,) = scan_code({"main.py": b"# coding: utf-7\n# +AAo-import os\n"})
    assert "encoding" in found.what
    assert scan_code({"main.py": b"# -*- coding: utf-8 -*-\nx = 'coding: utf-7'\n"}) == []


def test_a_dictionary_of_one_long_text_does_not_become_gigabytes(tmp_path: Path) -> None:
    """A Parquet file stores a text once, however many rows have it."""
    file = tmp_path / "bomb.parquet"
    rows = 60_000
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * 1_000_000])
    table = pa.table({"shopper_id": long, "item_id": long, "day": ["2024-01-01"] * rows})
    pq.write_table(table, file, compression="zstd", store_schema=False)
    assert file.stat().st_size < 2_000_000
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="usual lengths"):
        read_purchases(file, TOYS)
    assert pa.default_memory_pool().max_memory() < 1 << 30
    assert pa.total_allocated_bytes() - before < 64 << 20


def test_a_packed_line_without_an_end_is_not_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for _ in range(200):
            packed.write(b" " * (1 << 20))
    assert file.stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="a longer one"):
            read_amazon_reviews(file)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_csv_of_one_endless_line_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_bytes(b"item_id,title\n" + b"a" * (20 << 20))
    with pytest.raises(DataError, match="several megabytes"):
        read_catalogue(file)


def test_a_shop_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    file.write_bytes(TARGETS["shop-parquet"].seeds[0])
    table = pq.read_table(file)
    names = dict.fromkeys(table.schema.metadata, b"\xff")
    pq.write_table(table.replace_schema_metadata(names), file)
    assert read_shop(file, TOYS).all.n_shoppers == 3


def test_a_shopper_whose_id_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    file.write_bytes(TARGETS["shop-parquet"].seeds[0])
    table = pq.read_table(file)
    ids = pa.array([b"\xff"] * table.num_rows).view(pa.string())
    pq.write_table(table.set_column(0, table.schema.field(0), ids), file)
    with pytest.raises(DataError, match="damaged"):
        read_shop(file, TOYS)


def test_a_list_of_stock_is_read_like_purchases(tmp_path: Path) -> None:
    home = MerchantHome.create(
        tmp_path / "home", MerchantSettings(name="x", email="a@b.c", share="s")
    )
    file = tmp_path / "stock.csv"
    file.write_bytes("\ufeffitem_id;quantity\ntoy-0;3\ntoy-1;0\ntoy-2;\nother;1\n".encode())
    assert set_stock(home, file, TOYS) == (2, 1)
    stock = read_stock(home, TOYS)
    assert stock is not None
    assert stock.tolist() == [True, False, True, False, False, False]
    file.write_text("item_id,quantity\ntoy-0,1\ntoy-1,many\n")
    with pytest.raises(DataError, match="line 3"):
        set_stock(home, file, TOYS)
    file.write_bytes("item_id\ntoy-0\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        set_stock(home, file, TOYS)
