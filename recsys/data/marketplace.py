"""A marketplace: one catalogue, and the shops that sell from it, each with its own shoppers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from recsys.data.catalogue import Catalogue
from recsys.data.catalogue_files import read_catalogue, write_catalogue
from recsys.data.interactions import Interactions
from recsys.data.purchases import collect_purchases
from recsys.data.report import ReadReport
from recsys.data.splits import TEST, TRAIN, VALID, Split
from recsys.data.tables import find_table
from recsys.files import atomic_path

__all__ = ["Marketplace", "Shop", "describe", "read_marketplace", "write_marketplace"]

_LABEL_NAMES = np.array(["train", "valid", "test"], dtype=object)


@dataclass(frozen=True, eq=False)
class Shop:
    """One merchant's purchases and their split.

    Args:
        name: the merchant's public name.
        split: train, valid and test purchases.
        all: the three together, in this order.

    Privacy: holds shoppers' purchases; stays at the merchant. The unit is one shopper at one
    merchant: the same shopper id at another merchant is another shopper.
    """

    name: str
    split: Split
    all: Interactions

    @classmethod
    def from_split(cls, name: str, split: Split) -> Self:
        """A shop whose `all` is train, valid and test in this order."""
        return cls(name, split, split.everything())

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        """The part of the split of each purchase in `all`: int8 of 0 train, 1 valid, 2 test."""
        parts = (self.split.train.lengths, self.split.valid.lengths, self.split.test.lengths)
        lengths = np.stack(parts, axis=1)
        labels = np.tile(np.array([TRAIN, VALID, TEST], dtype=np.int8), len(lengths))
        return np.repeat(labels, lengths.ravel())

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The place of each purchase of `all` in its shopper's history, from 0."""
        return np.arange(self.all.n_purchases) - np.repeat(self.all.indptr[:-1], self.all.lengths)

    def rows(self, mask: npt.NDArray[np.bool_]) -> Shop:
        """The same shop with only the shoppers that `mask` (bool [n_shoppers]) keeps."""
        parts = (self.split.train, self.split.valid, self.split.test)
        return Shop(self.name, Split(*(part.rows(mask) for part in parts)), self.all.rows(mask))


@dataclass(frozen=True, eq=False)
class Marketplace:
    """A catalogue and its shops by name; only simulations and tests hold all shops at once."""

    catalogue: Catalogue
    shops: dict[str, Shop] = field(repr=False)


def read_marketplace(folder: Path) -> tuple[Marketplace, ReadReport]:
    """Read a folder of interactions.csv|parquet and items.csv|parquet.

    Interactions have merchant, shopper_id, item_id and timestamp or position (timestamp where
    both are there), optionally split (train, valid, test) and quantity. The split column wins
    where it is given, else leave-one-out. The same shopper_id at two merchants means two shoppers.

    Returns:
        The marketplace, and the report on both files; its row counts are of the interactions.

    Raises:
        DataError: a file is missing or cannot be used, or no row survives.

    Privacy: for simulation and tests, where one process may see all purchases.
    """
    folder = Path(folder)
    purchases_file, items_file = find_table(folder, "interactions"), find_table(folder, "items")
    catalogue, catalogue_report = read_catalogue(items_file)
    by_merchant, report = collect_purchases(purchases_file, catalogue, with_merchant=True)
    shops = {
        name: Shop.from_split(name, purchases.split_or_leave_one_out())
        for name, purchases in by_merchant.items()
    }
    return Marketplace(catalogue, shops), report.merged(catalogue_report)


def write_marketplace(
    folder: Path, marketplace: Marketplace, kind: Literal["csv", "parquet"] = "csv"
) -> None:
    """Write a folder that `read_marketplace` reads back, each file whole or not at all.

    Args:
        folder: made where it is missing; its files of the other kind are removed.
        marketplace: what to write; the split is written with the purchases.
        kind: CSV or Parquet.

    Privacy: writes exact purchases; for synthetic or public data.
    """
    folder = Path(folder)
    other = "parquet" if kind == "csv" else "csv"
    write_catalogue(folder / f"items.{kind}", marketplace.catalogue)
    with atomic_path(folder / f"interactions.{kind}") as temporary:
        schema = pa.schema(
            [
                ("merchant", pa.string()),
                ("shopper_id", pa.string()),
                ("position", pa.int64()),
                ("item_id", pa.string()),
                ("split", pa.string()),
            ]
        )
        make = pacsv.CSVWriter if kind == "csv" else pq.ParquetWriter
        with make(temporary, schema) as writer:
            for shop in marketplace.shops.values():
                writer.write_table(_rows(shop, marketplace.catalogue, schema))
    for stem in ("items", "interactions"):
        (folder / f"{stem}.{other}").unlink(missing_ok=True)


def _rows(shop: Shop, catalogue: Catalogue, schema: pa.Schema) -> pa.Table:
    ids = pa.array(shop.all.shopper_ids.astype(object), type=pa.string())
    return pa.table(
        {
            "merchant": pa.repeat(shop.name, shop.all.n_purchases),
            "shopper_id": ids.take(pa.array(shop.all.row_index)),
            "position": shop.positions,
            "item_id": pa.array(catalogue.item_ids, pa.string()).take(pa.array(shop.all.items)),
            "split": pa.array(_LABEL_NAMES, pa.string()).take(pa.array(shop.labels)),
        },
        schema=schema,
    )


def describe(marketplace: Marketplace) -> dict[str, Any]:
    """Counts, density (share of shopper-toy pairs bought) and medians, overall and by merchant.

    Privacy: exact figures about purchases; for simulation, or shown to the merchant itself.
    """
    shops = marketplace.shops
    n_items = marketplace.catalogue.n_items
    n_shoppers = sum(shop.all.n_shoppers for shop in shops.values())
    lengths = np.concatenate([np.empty(0, int), *(s.all.lengths for s in shops.values())])
    counts = np.sum([shop.all.item_counts() for shop in shops.values()], axis=0, dtype=np.int64)
    return {
        "toys": n_items,
        "toys_bought": int(np.count_nonzero(counts)),
        "shoppers": n_shoppers,
        "purchases": int(lengths.sum()),
        "density": float(counts.sum() / (n_shoppers * n_items)) if n_shoppers * n_items else 0.0,
        **_spread("purchases_per_shopper", lengths),
        **_spread("shoppers_per_toy", np.atleast_1d(counts)),
        "merchants": {name: _describe_shop(shop) for name, shop in shops.items()},
    }


def _describe_shop(shop: Shop) -> dict[str, Any]:
    bought = shop.all.item_counts()
    return {
        "shoppers": shop.all.n_shoppers,
        "purchases": shop.all.n_purchases,
        "toys_bought": int(np.count_nonzero(bought)),
        **_spread("purchases_per_shopper", shop.all.lengths),
        "train": shop.split.train.n_purchases,
        "valid": shop.split.valid.n_purchases,
        "test": shop.split.test.n_purchases,
    }


def _spread(what: str, values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {f"{what}_median": 0.0, f"{what}_max": 0}
    return {f"{what}_median": float(np.median(values)), f"{what}_max": int(values.max())}
