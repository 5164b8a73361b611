"""Readers of purchases and catalogues: the files that people hand over."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from datasites.merchant.home import MerchantHome, MerchantSettings
from datasites.merchant.stock import read_stock, set_stock
from recsys.data import read_catalogue, read_marketplace, read_purchases, read_shop, write_shop
from recsys.data.amazon_meta import read_amazon_meta
from recsys.data.amazon_reviews import read_amazon_reviews
from recsys.data.catalogue import Catalogue
from recsys.data.columns import ITEM_FIELDS, PURCHASE_FIELDS, resolve_columns
from recsys.data.interactions import Interactions
from recsys.data.marketplace import Shop
from recsys.data.splits import leave_one_out
from recsys.errors import ToyFedError
from tests.fuzz.target import Target, scratch, scratch_file

__all__ = ["TARGETS", "TOYS"]

TOYS = Catalogue(
    pd.DataFrame({"item_id": [f"toy-{n}" for n in range(6)], "title": ["a b c d"] * 6})
)
PURCHASES = (
    b"shopper_id,item_id,timestamp,quantity,split\n"
    b"s1,toy-0,2024-01-01,1,train\n"
    b's1,toy-1,"2024-02-01T10:00:00Z",2,valid\n'
    b"s2,toy-2,1700000000,1,test\n"
    b"s2,toy-3,20240131,,train\n"
)
POSITIONS = b"customer;sku;position\n1;toy-0;0\n1;toy-1;1.0\n2;toy-2;3\n"
ITEMS = (
    b"item_id,title,category_path,brand,price,age_from,age_to,image_url\n"
    b"toy-0,Red car,Cars > Red,Acme,9.99,3,6,https://x.example/y.png\n"
    b'toy-1,"A ""big"" one",Cars,,1e3,,,\n'
)
MARKET = b"merchant,shopper_id,item_id,position\nA,s1,toy-0,0\nA,s1,toy-1,1\nB,s1,toy-2,0\n"
MARK = b"\n=====\n"
_CSV = (b"shopper_id", b"item_id", b"timestamp", b"toy-0", b"train", b"nan", b"9999999999999999999")
_REVIEWS = b"\n".join(
    json.dumps(row).encode()
    for row in (
        {"user_id": "u", "parent_asin": "A", "timestamp": 1700000000000},
        {"reviewerID": "v", "asin": "B", "unixReviewTime": 1400000000},
        {"user_id": "u", "parent_asin": "B", "timestamp": 1600000000000, "text": "x"},
    )
)
_META = b"\n".join(
    json.dumps(row).encode()
    for row in (
        {
            "parent_asin": "A",
            "title": "Car",
            "categories": ["Toys", "Cars"],
            "details": {"Manufacturer recommended age": "36 months - 6 years"},
            "price": "$5.99 - $9",
            "images": [{"large": "https://x.example/a.png"}],
            "store": "Acme",
        },
        {"asin": "B", "category": [["Toys"]], "imageURL": ["https://x.example"], "price": 3.5},
    )
)


def _parquet(table: pd.DataFrame, **how: object) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, **how)
    return buffer.getvalue()


def _shop_file() -> bytes:
    bought = Interactions.from_lists([[0, 1, 2, 3], [2, 1, 0], [5]], 6, ["s1", "s2", "s3"])
    with scratch_file("seed.parquet", b"") as file:
        write_shop(file, Shop.from_split("Castle", leave_one_out(bought)), TOYS)
        return file.read_bytes()


def _bought(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with scratch_file(name, data) as file:
            purchases, report = read_purchases(file, TOYS)
            _ = purchases.split_or_leave_one_out(), report.summary()

    return read


def _items(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with scratch_file(name, data) as file:
            catalogue, report = read_catalogue(file)
            _ = catalogue.digest, catalogue.text(), catalogue.categories(), report.summary()

    return read


def _reviews(data: bytes) -> None:
    for name in ("reviews.jsonl", "ratings.csv"):
        try:
            with scratch_file(name, data) as file:
                read_amazon_reviews(file)
        except ToyFedError:
            continue


def _meta(data: bytes) -> None:
    with scratch_file("meta.jsonl", data) as file:
        read_amazon_meta(file, {"A", "B"})


def _market(data: bytes) -> None:
    """One input holds both files, with a mark in between."""
    bought, _, items = data.partition(MARK)
    with scratch_file("interactions.csv", bought), scratch_file("items.csv", items):
        read_marketplace(scratch())


def _shop(data: bytes) -> None:
    with scratch_file("shop.parquet", data) as file:
        read_shop(file, TOYS)


def _columns(data: bytes) -> None:
    try:
        names, mapping = json.loads(data)
        mapping, names = dict(mapping), [str(name) for name in names]
    except (ValueError, TypeError, RecursionError):
        return
    plain = {str(field): str(column) for field, column in mapping.items()}
    for fields, needed in ((PURCHASE_FIELDS, "shopper_id"), (ITEM_FIELDS, "item_id")):
        resolve_columns("x.csv", names, fields, [needed], plain)


def _stock(data: bytes) -> None:
    home = MerchantHome(scratch(), MerchantSettings(name="x", email="a@b.c", share="s"))
    os.makedirs(home.serving, exist_ok=True)
    with scratch_file("list.csv", data) as file:
        set_stock(home, file, TOYS)
        read_stock(home, TOYS)


def _preview(data: bytes) -> None:
    from ui.web.views.data import _preview as preview

    with scratch_file("upload.csv", data) as file:
        preview(Path(file))


_FRAME = pd.read_csv(io.BytesIO(PURCHASES), dtype=str)
_TYPED = pd.DataFrame(
    {
        "shopper_id": [1, 2, 2],
        "item_id": pd.Categorical(["toy-0", "toy-1", "toy-0"]),
        "timestamp": pd.to_datetime(["2024-01-01", None, "2024-03-01"]),
        "quantity": [1.0, None, 2.0],
    }
)
_ITEM_FRAME = pd.read_csv(io.BytesIO(ITEMS))

TARGETS = (
    Target("purchases-csv", _bought("bought.csv"), (PURCHASES, POSITIONS), "text", _CSV),
    Target(
        "purchases-parquet",
        _bought("bought.parquet"),
        (_parquet(_FRAME), _parquet(_TYPED), _parquet(_FRAME, compression=None)),
    ),
    Target("catalogue-csv", _items("items.csv"), (ITEMS,), "text", _CSV),
    Target(
        "catalogue-parquet",
        _items("items.parquet"),
        (_parquet(_ITEM_FRAME), _parquet(_ITEM_FRAME, compression="gzip")),
    ),
    Target(
        "amazon-reviews",
        _reviews,
        (_REVIEWS, gzip.compress(_REVIEWS, mtime=0), b"user,item,3,4\nA,u,5.0,1400000000\n"),
        "text",
    ),
    Target("amazon-meta", _meta, (_META, gzip.compress(_META, mtime=0)), "text"),
    Target("marketplace", _market, (MARKET + MARK + ITEMS,), "text", _CSV),
    Target("shop-parquet", _shop, (_shop_file(),)),
    Target(
        "columns",
        _columns,
        (b'[["Customer", "SKU", "day"], {"shopper_id": "Customer"}]', b'[["asin"], {}]'),
        "json",
    ),
    Target("stock-csv", _stock, (b"item_id,quantity\ntoy-0,3\ntoy-1,0\n",), "text", _CSV),
    Target("page-preview", _preview, (PURCHASES, _parquet(_FRAME)), "text", _CSV),
)
