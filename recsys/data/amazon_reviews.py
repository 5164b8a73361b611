"""Streams Amazon reviews: JSONL of 2018 and 2023, and CSV of ratings."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from recsys.data.report import ReadReport
from recsys.errors import DataError

__all__ = ["Reviews", "bounded_lines", "open_lines", "read_amazon_reviews"]

Ints = npt.NDArray[np.int64]

# Above this a number counts milliseconds: as seconds it would lie beyond the year 5138.
_MILLISECONDS = 10**11
_LONGEST_LINE = 8 << 20
_SHOPPER = ("user_id", "reviewerID")
# Variants of one toy share a parent in 2023, and the metadata is by parent.
_ITEM = ("parent_asin", "asin")
_TIME = ("timestamp", "unixReviewTime")


@dataclass(frozen=True, eq=False, repr=False)
class Reviews:
    """Reviews as codes.

    Args:
        shoppers: int64 [n], codes from 0 in order of appearance.
        items: int64 [n], index into `item_names`.
        times: int64 [n], milliseconds since 1970.
        item_names: object [n_items] of str.
    """

    shoppers: Ints
    items: Ints
    times: Ints
    item_names: npt.NDArray[Any]


def read_amazon_reviews(path: Path) -> tuple[Reviews, ReadReport]:
    """Stream reviews from JSONL(.gz) or CSV(.gz); only codes stay in memory.

    Raises:
        DataError: missing, damaged, of another format, or no row survives.
    """
    report = ReadReport(file=path.name)
    shopper_code: dict[Any, int] = {}
    item_code: dict[Any, int] = {}
    shoppers, items, times = array("q"), array("q"), array("q")
    is_csv = ".csv" in path.suffixes
    with open_lines(path) as source:
        for line, row in (_csv_rows if is_csv else _json_rows)(source, report):
            report.rows_read += 1
            if row is None:
                continue
            shopper, item, time = row
            if not shopper:
                report.add([line], "", "shopper missing")
            elif not item:
                report.add([line], "", "item missing")
            elif (moment := _milliseconds(time)) is None:
                report.add([line], "", "time missing or not a number")
            else:
                shoppers.append(shopper_code.setdefault(shopper, len(shopper_code)))
                items.append(item_code.setdefault(item, len(item_code)))
                times.append(moment)
    if not len(items):
        raise DataError(
            f"Expected Amazon reviews in {path.name} (JSONL with user_id or reviewerID, "
            "parent_asin or asin, timestamp or unixReviewTime; or CSV of ratings); found none "
            f"that can be used.\n{report.summary()}\nCheck that it is the file of reviews."
        )
    report.rows_kept = len(items)
    names = np.array(list(item_code), dtype=object)
    columns = [np.array(values, dtype=np.int64) for values in (shoppers, items, times)]
    return Reviews(columns[0], columns[1], columns[2], names), report


@contextmanager
def open_lines(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be gzipped; turns what goes wrong into a DataError.

    Raises:
        DataError: the file is missing, or damaged while it is read.
    """
    if not path.is_file():
        raise DataError(f"Expected a file; {path.name!r} is not one. Check the path.")
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if zipped:
                with gzip.open(raw) as source:
                    yield io.BufferedReader(source)
            else:
                yield raw
        except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, csv.Error):
            raise DataError(
                f"Expected whole UTF-8 text in {path.name}; the file is damaged, cut short or in "
                "another encoding. Download it again."
            ) from None


def bounded_lines(source: BinaryIO, file: str) -> Iterator[bytes]:
    """The lines of an open file, none of them longer than memory should have to hold.

    Raises:
        DataError: a line is longer: the file is of another kind, or a bomb.
    """
    while line := source.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise DataError(
                f"Expected lines of at most {_LONGEST_LINE >> 20} MB in {file}; found a longer "
                "one. Check that it is the file that you mean."
            )
        yield line


Row = tuple[Any, Any, Any]


def _json_rows(source: BinaryIO, report: ReadReport) -> Iterator[tuple[int, Row | None]]:
    for line, text in enumerate(bounded_lines(source, report.file), start=1):
        if text.isspace():
            continue
        try:
            review = json.loads(text)
        except (ValueError, RecursionError):
            review = None
        if not isinstance(review, dict):
            report.add([line], "", "not a JSON object")
            yield line, None
            continue
        yield line, (_first(review, _SHOPPER), _first(review, _ITEM), _first(review, _TIME))


def _csv_rows(source: BinaryIO, report: ReadReport) -> Iterator[tuple[int, Row | None]]:
    reader = csv.reader(codecs.iterdecode(bounded_lines(source, report.file), "utf-8"))
    places = (1, 0, 3)
    for row in reader:
        if reader.line_num == 1 and (named := _named_places(row)):
            places = named
            continue
        if len(row) <= max(places):
            if row:
                report.add([reader.line_num], "", "row with too few cells")
                yield reader.line_num, None
            continue
        yield reader.line_num, (row[places[0]], row[places[1]], row[places[2]])


def _named_places(row: list[str]) -> tuple[int, int, int] | None:
    """Where shopper, item and time are, if the row holds column names."""
    names = [name.strip().lower() for name in row]
    found = []
    for options in (("user_id", "user", "reviewerid"), ("parent_asin", "asin", "item"), _TIME):
        place = next((names.index(o.lower()) for o in options if o.lower() in names), None)
        if place is None:
            return None
        found.append(place)
    return found[0], found[1], found[2]


def _first(review: dict[str, Any], names: tuple[str, ...]) -> Any:
    value = next((review[name] for name in names if review.get(name) is not None), None)
    return value if isinstance(value, str | int | float) else None


def _milliseconds(time: Any) -> int | None:
    try:
        number = int(float(time))
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0 <= number < 10**15:
        return None
    return number if number >= _MILLISECONDS else number * 1000
