"""Reads and writes the catalogue of toys as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from recsys.data.catalogue import LEVELS, NUMBER_COLUMNS, TEXT_COLUMNS, Catalogue
from recsys.data.columns import ITEM_FIELDS, resolve_columns
from recsys.data.report import ReadReport
from recsys.data.tables import Batch, Table
from recsys.data.values import MOST_ID, as_ids, as_numbers, as_text, longer_than
from recsys.errors import DataError
from recsys.files import atomic_path

__all__ = ["read_catalogue", "write_catalogue"]

_MOST_TEXT = 1000
"""Characters of a title, brand or category path; pages and models have no use for more."""
_MOST_PICTURE = 200_000
_PICTURES = ("https://", "http://", "data:image/")


def read_catalogue(
    path: Path, columns: Mapping[str, str] | None = None
) -> tuple[Catalogue, ReadReport]:
    """Read a catalogue from CSV or Parquet.

    Rows without an id, or with one that came before or is longer than 256 characters, are left
    out. A price or age that is no number, negative, or an age range that is upside down counts as
    unknown; texts are cut after 1,000 characters. Each is reported.

    Args:
        path: the file; item_id and title are needed, unknown columns are ignored.
        columns: field -> column of the file, where the names are unusual.

    Raises:
        DataError: the file cannot be used: missing, empty, binary, in another encoding, without a
            needed column, or no row survives.
    """
    table = Table(path)
    found = resolve_columns(table.file, table.names, ITEM_FIELDS, ["item_id", "title"], columns)
    report = ReadReport(file=table.file, columns=found)
    parts = [_part(batch, found, report) for batch in table.batches(list(found.values()), report)]
    if not any(len(part["line"]) for part in parts):
        raise _no_toys(report)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    again = pd.Series(rows["item_id"], dtype=object).duplicated().to_numpy()
    report.add(rows["line"][again], found["item_id"], "item_id again (the first one stays)")
    report.rows_kept = int((~again).sum())
    facts = {name: values[~again] for name, values in rows.items() if name != "line"}
    return Catalogue(pd.DataFrame(facts)), report


def write_catalogue(path: Path, catalogue: Catalogue) -> None:
    """Write a catalogue as CSV where the name has .csv in it, else as Parquet; whole or not."""
    path = Path(path)
    with atomic_path(path) as temporary:
        if ".csv" in path.suffixes:
            catalogue.frame.to_csv(temporary, index=False, lineterminator="\n")
        else:
            catalogue.frame.to_parquet(temporary, index=False)


def _no_toys(report: ReadReport) -> DataError:
    return DataError(
        f"Expected toys in {report.file}; found none that can be used.\n{report.summary()}\n"
        "Correct the file."
    )


def _part(
    batch: Batch, found: Mapping[str, str], report: ReadReport
) -> dict[str, npt.NDArray[Any]]:
    ids, missing = as_ids(batch.columns[found["item_id"]])
    report.add(batch.lines[missing], found["item_id"], "item_id missing")
    long = longer_than(ids, MOST_ID)
    report.add(batch.lines[long], found["item_id"], f"item_id longer than {MOST_ID} characters")
    missing = missing | long
    rows: dict[str, npt.NDArray[Any]] = {"line": batch.lines, "item_id": _objects(ids)}
    for name in TEXT_COLUMNS[1:]:
        if name in found:
            text = as_text(batch.columns[found[name]])
            if name != "image_url":
                cut = longer_than(text, _MOST_TEXT)
                what = f"{name} longer than {_MOST_TEXT:,} characters (cut there)"
                report.add(batch.lines[cut], found[name], what)
                text = pc.utf8_slice_codeunits(text, 0, _MOST_TEXT)
            rows[name] = _objects(text)
    for name in NUMBER_COLUMNS:
        if name in found:
            values, _, bad = as_numbers(batch.columns[found[name]])
            negative = values < 0
            report.add(batch.lines[bad], found[name], f"{name} not a number (taken as unknown)")
            report.add(batch.lines[negative], found[name], f"{name} negative (taken as unknown)")
            rows[name] = np.where(bad | negative, np.nan, values)
    untitled = (rows["title"] == "") & ~missing
    report.add(batch.lines[untitled], found["title"], "title missing (the item_id stands in)")
    rows["title"] = np.where(untitled, rows["item_id"], rows["title"])
    if "category_path" in rows:
        rows["category_path"] = _objects(map(_tidy_path, rows["category_path"]))
    if "image_url" in rows:
        # Anything else could make a page run or fetch what nobody expects of a picture.
        odd = np.array([bool(u) and not u.startswith(_PICTURES) for u in rows["image_url"]], bool)
        report.add(batch.lines[odd], found["image_url"], "image_url not a web address (left out)")
        huge = np.array([len(u) > _MOST_PICTURE for u in rows["image_url"]], bool)
        what = f"image_url longer than {_MOST_PICTURE:,} characters (left out)"
        report.add(batch.lines[huge], found["image_url"], what)
        rows["image_url"] = np.where(odd | huge, "", rows["image_url"])
    if "age_from" in rows and "age_to" in rows:
        upside_down = rows["age_from"] > rows["age_to"]
        what = "age_from above age_to (both taken as unknown)"
        report.add(batch.lines[upside_down], found["age_from"], what)
        for name in ("age_from", "age_to"):
            rows[name] = np.where(upside_down, np.nan, rows[name])
    return {name: values[~missing] for name, values in rows.items()}


def _objects(values: Any) -> npt.NDArray[Any]:
    texts = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def _tidy_path(path: str) -> str:
    return LEVELS.join(part for part in (level.strip() for level in path.split(">")) if part)
