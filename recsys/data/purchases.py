"""Reads purchases from CSV or Parquet: checked row by row, collected as compact arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.catalogue import Catalogue
from recsys.data.columns import PURCHASE_FIELDS, PURCHASE_NEEDS, resolve_columns
from recsys.data.interactions import Interactions
from recsys.data.report import ReadReport
from recsys.data.splits import Split, by_labels, leave_one_out
from recsys.data.tables import Batch, Table
from recsys.data.values import (
    MOST_ID,
    as_ids,
    as_labels,
    as_numbers,
    as_positions,
    as_text,
    as_times,
    longer_than,
)
from recsys.errors import DataError

__all__ = ["Purchases", "collect_purchases", "merchants_in", "read_purchases"]

Ints = npt.NDArray[np.int64]
Rows = dict[str, npt.NDArray[Any]]

_UNLABELLED = -1
_OF_MERCHANTS = {"merchant", "merchant_id", "seller", "seller_id"}


@dataclass(frozen=True, eq=False, repr=False)
class Purchases:
    """One merchant's purchases, with their times and the split that the file gave.

    Args:
        interactions: purchases in order of time.
        order: int64 [n_purchases], aligned with `interactions.items`: milliseconds since 1970
            where `timed`, else the position in the shopper's history.
        timed: whether `order` holds times.
        labels: int8 [n_purchases] of 0 train, 1 valid, 2 test; None where the file gave no split.

    Privacy: holds shoppers' purchases; stays at the merchant.
    """

    interactions: Interactions
    order: Ints
    timed: bool
    labels: npt.NDArray[np.int8] | None = None

    def __repr__(self) -> str:
        return f"Purchases({self.interactions!r})"

    @property
    def split(self) -> Split | None:
        """The split that the file gave, if it gave one."""
        return None if self.labels is None else by_labels(self.interactions, self.labels)

    def split_or_leave_one_out(self) -> Split:
        """The split that the file gave, else leave-one-out."""
        return self.split or leave_one_out(self.interactions)


def read_purchases(
    path: Path,
    catalogue: Catalogue,
    columns: Mapping[str, str] | None = None,
    merchant: str | None = None,
) -> tuple[Purchases, ReadReport]:
    """Read one merchant's own CSV or Parquet of purchases.

    Args:
        path: the file, with a shopper, a toy, and a time or position for each purchase.
        catalogue: the catalogue that toys are looked up in.
        columns: field -> column of the file (shopper_id, item_id, timestamp, position, split,
            quantity); what is not mapped is found by its usual names.
        merchant: whose purchases to read from a file of several merchants.

    Returns:
        The purchases, and what was wrong with the rows that were left out.

    Raises:
        DataError: the file cannot be used: missing, empty, binary, in another encoding, without a
            needed column, or no row survives; or it holds several merchants' and none was named.

    Privacy: stays at the merchant; messages and the report hold line numbers, never values of a
    shopper.
    """
    if merchant is not None:
        of_all, report = collect_purchases(path, catalogue, columns, with_merchant=True)
        if merchant not in of_all:
            raise DataError(
                f"Expected purchases of {merchant!r} in {report.file}, found those of "
                f"{_some(sorted(of_all))}. Name one of them."
            )
        theirs = of_all[merchant]
        # Good rows of other merchants are no defects, and none of this one's either.
        report.rows_read -= report.rows_kept - theirs.interactions.n_purchases
        report.rows_kept = theirs.interactions.n_purchases
        return theirs, report
    others = merchants_in(path)
    if len(others) > 1:
        raise DataError(
            f"Expected one merchant's purchases in {Path(path).name}, found those of "
            f"{_some(others)}. Say whose with --merchant NAME, or hand over a file of one."
        )
    by_merchant, report = collect_purchases(path, catalogue, columns, with_merchant=False)
    (purchases,) = by_merchant.values()
    return purchases, report


def merchants_in(path: Path) -> list[str]:
    """The merchants that a file names in a column of that name, sorted; [] without such a column.

    A column of stores is none: one merchant may have many.
    """
    table = Table(path)
    wanted = [name for name in table.names if name.strip().lower() in _OF_MERCHANTS]
    found: set[str] = set()
    for batch in table.batches(wanted[:1], ReadReport()) if wanted else ():
        found.update(pc.unique(as_text(batch.columns[wanted[0]])).to_pylist())
    return sorted(found - {""})


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def collect_purchases(
    path: Path,
    catalogue: Catalogue,
    columns: Mapping[str, str] | None = None,
    *,
    with_merchant: bool,
) -> tuple[dict[str, Purchases], ReadReport]:
    """Read purchases by merchant (all under "" unless `with_merchant`), as `read_purchases` does.

    The same shopper id at two merchants means two shoppers: the unit is a shopper at a merchant.
    """
    table = Table(path)
    required = ("merchant", *PURCHASE_NEEDS) if with_merchant else PURCHASE_NEEDS
    fields = [f for f in PURCHASE_FIELDS if with_merchant or f.name != "merchant"]
    found = resolve_columns(table.file, table.names, fields, required, columns)
    if "timestamp" in found:
        found.pop("position", None)
    report = ReadReport(file=table.file, columns=found)
    collector = _Collector(catalogue, found, report)
    for batch in table.batches(list(found.values()), report):
        collector.take(batch)
    return collector.finish(), report


def joined(parts: list[Rows], empty: str) -> Rows:
    """The columns of all parts end to end; without a part, one column of no rows."""
    if not parts:
        return {empty: np.empty(0, dtype=np.int64)}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Names:
    """Numbers texts in the order in which they first appear."""

    def __init__(self) -> None:
        self.code_of: dict[str, int] = {}

    def codes(self, column: pa.Array) -> Ints:
        encoded = pc.dictionary_encode(column)
        code_of = self.code_of
        local = [code_of.setdefault(t, len(code_of)) for t in encoded.dictionary.to_pylist()]
        codes = np.array(local, dtype=np.int64)
        of_rows: Ints = codes[encoded.indices.to_numpy(zero_copy_only=False)]
        return of_rows

    def sorted(self) -> tuple[npt.NDArray[Any], Ints]:
        """The texts in order, object [n], and each code's place among them, int64 [n]."""
        names = np.array(list(self.code_of), dtype=object)
        by_name = np.argsort(names, kind="stable")
        place = np.empty(len(names), dtype=np.int64)
        place[by_name] = np.arange(len(names))
        return names[by_name], place


class _Collector:
    """Checks batches and keeps each good row as six numbers."""

    def __init__(self, catalogue: Catalogue, found: Mapping[str, str], report: ReadReport) -> None:
        self._n_items = catalogue.n_items
        self._item_ids = pa.array(catalogue.item_ids, type=pa.string())
        self._found = found
        self._report = report
        self._shoppers = _Names()
        self._merchants = _Names()
        self._parts: list[Rows] = []

    def take(self, batch: Batch) -> None:
        columns = {name: batch.columns[where] for name, where in self._found.items()}
        good = np.ones(len(batch.lines), dtype=bool)

        def drop(bad: npt.NDArray[np.bool_], name: str, what: str) -> None:
            here = good & bad
            self._report.add(batch.lines[here], self._found.get(name, ""), what)
            good[here] = False

        rows: Rows = {"line": batch.lines, "merchant": np.zeros(len(good), dtype=np.int32)}
        if "merchant" in columns:
            text, missing = as_ids(columns["merchant"])
            drop(missing, "merchant", "merchant missing")
            rows["merchant"] = self._merchants.codes(text).astype(np.int32)
        text, missing = as_ids(columns["shopper_id"])
        drop(missing, "shopper_id", "shopper_id missing")
        long = longer_than(text, MOST_ID)
        drop(long, "shopper_id", f"shopper_id longer than {MOST_ID} characters")
        rows["shopper"] = self._shoppers.codes(pc.if_else(pa.array(long), "", text))
        text, missing = as_ids(columns["item_id"])
        drop(missing, "item_id", "item_id missing")
        index = pc.fill_null(pc.index_in(text, value_set=self._item_ids), -1)
        rows["item"] = index.to_numpy(zero_copy_only=False)
        drop(rows["item"] < 0, "item_id", "item_id not in the catalogue")
        if "timestamp" in columns:
            rows["order"], bad = as_times(columns["timestamp"])
            drop(bad, "timestamp", "timestamp missing or neither an ISO date nor epoch time")
        else:
            rows["order"], bad = as_positions(columns["position"])
            drop(bad, "position", "position missing or not a whole number")
        if "quantity" in columns:
            quantity, blank, bad = as_numbers(columns["quantity"])
            drop(bad, "quantity", "quantity not a number")
            drop(~blank & ~(quantity > 0), "quantity", "quantity of 0 or less: not a purchase")
        if "split" in columns:
            labels, blank, bad = as_labels(columns["split"])
            drop(bad, "split", "split not one of train, valid, test")
            rows["label"] = np.where(blank, _UNLABELLED, labels).astype(np.int8)
        self._parts.append({name: values[good] for name, values in rows.items()})

    def finish(self) -> dict[str, Purchases]:
        rows = joined(self._parts, empty="line")
        self._parts.clear()
        if len(rows["line"]):
            rows = self._without_blank_labels(rows)
            rows = self._without_duplicates(rows)
        self._report.rows_kept = len(rows["line"])
        if not len(rows["line"]):
            raise DataError(
                f"Expected purchases in {self._report.file}; found none that can be used.\n"
                f"{self._report.summary()}\n"
                "Correct the file, or check that it belongs to this catalogue."
            )
        shoppers, place = self._shoppers.sorted()
        rows["shopper"] = place[rows["shopper"]]
        if "label" in rows:
            self._report_late(rows)
        # Labels go before time, so that train always precedes valid, and valid test.
        keys = [rows["order"], *([rows["label"]] if "label" in rows else []), rows["shopper"]]
        by_shopper_and_time = np.lexsort((*keys, rows["merchant"]))
        rows = {name: values[by_shopper_and_time] for name, values in rows.items()}
        merchants = list(self._merchants.code_of) or [""]
        bounds = np.searchsorted(rows["merchant"], np.arange(len(merchants) + 1))
        return {
            merchant: self._purchases(
                {name: values[bounds[code] : bounds[code + 1]] for name, values in rows.items()},
                shoppers,
            )
            for merchant, code in sorted(zip(merchants, range(len(merchants)), strict=True))
            if bounds[code] < bounds[code + 1]
        }

    def _purchases(self, rows: Rows, shoppers: npt.NDArray[Any]) -> Purchases:
        starts = np.flatnonzero(np.diff(rows["shopper"], prepend=-1))
        interactions = Interactions(
            np.append(starts, len(rows["item"])),
            rows["item"],
            shoppers[rows["shopper"][starts]],
            self._n_items,
        )
        timed = "timestamp" in self._found
        return Purchases(interactions, rows["order"], timed, rows.get("label"))

    def _without_blank_labels(self, rows: Rows) -> Rows:
        """Drop rows without a split where others have one; where none has, there is no split."""
        if "label" not in rows:
            return rows
        blank = rows["label"] == _UNLABELLED
        if blank.all():
            return {name: values for name, values in rows.items() if name != "label"}
        self._report.add(rows["line"][blank], self._found["split"], "split missing")
        return {name: values[~blank] for name, values in rows.items()}

    def _without_duplicates(self, rows: Rows) -> Rows:
        """Keep the first of rows that agree in merchant, shopper, toy and time."""
        keys = [rows[name] for name in ("item", "order", "shopper", "merchant")]
        by_all = np.lexsort(keys)
        same = np.ones(len(by_all) - 1, dtype=bool)
        for key in keys:
            values = key[by_all]
            same &= values[1:] == values[:-1]
        again = np.sort(by_all[1:][same])
        self._report.add(rows["line"][again], "", "the same purchase again")
        kept = np.ones(len(by_all), dtype=bool)
        kept[again] = False
        return {name: values[kept] for name, values in rows.items()}

    def _report_late(self, rows: Rows) -> None:
        """Book purchases that an earlier part of the split has, though they are newer."""
        merchant, shopper, order = rows["merchant"], rows["shopper"], rows["order"]
        by_time = np.lexsort((rows["label"], order, shopper, merchant))
        label = rows["label"][by_time]
        unit = np.cumsum(
            (np.diff(shopper[by_time], prepend=-1) != 0)
            | (np.diff(merchant[by_time], prepend=-1) != 0)
        )
        # Adding the unit keeps the running maximum from crossing over to the next shopper.
        highest = np.maximum.accumulate(unit * 3 + label) - unit * 3
        late = np.sort(by_time[label < highest])
        what = "split against the order of time (kept as the split says)"
        self._report.add(rows["line"][late], self._found["split"], what)
