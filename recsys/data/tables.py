"""Streams CSV and Parquet files in batches, with the line number of every row."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from recsys.data.csv_lines import Lines, Utf8File
from recsys.data.report import ReadReport
from recsys.errors import DataError

__all__ = ["Batch", "Table", "find_table"]

_BLOCK_BYTES = 4 << 20
_BATCH_ROWS = 1 << 16
_HEADER_BYTES = 1 << 16
_MOST_TEXT_BYTES = 256 << 20
_SUFFIXES = (".parquet", ".csv")
# What Arrow raises about files that are damaged, or made to do damage.
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class Batch:
    """Some rows: the wanted columns, and the line (CSV) or row (Parquet) number of each row."""

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]


def find_table(folder: Path, stem: str) -> Path:
    """The file `stem.parquet` or `stem.csv` in `folder`.

    Raises:
        DataError: the folder or the file is missing, or both files are there.
    """
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder with interactions.csv and items.csv (or .parquet); "
            f"{folder.name!r} is not a folder. Give the folder that holds them."
        )
    found = [folder / (stem + end) for end in _SUFFIXES if (folder / (stem + end)).is_file()]
    if len(found) > 1:
        raise DataError(
            f"Expected one file of {stem}; found both {found[0].name} and {found[1].name} "
            f"in {folder.name!r}. Remove the one that is out of date."
        )
    if not found:
        raise DataError(
            f"Expected {stem}.csv or {stem}.parquet in {folder.name!r}; found neither. "
            "Add the file or give another folder."
        )
    return found[0]


class Table:
    """A CSV or Parquet file that is read in batches, so that memory stays bounded.

    Args:
        path: the file; Parquet is told by its first bytes, whatever its name.

    Raises:
        DataError: missing, empty, binary, not UTF-8, or without a line of column names.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.file = self.path.name
        if not self.path.is_file():
            raise DataError(
                f"Expected a CSV or Parquet file; {self.file!r} is not a file. Check the path."
            )
        with self.path.open("rb") as source:
            head = source.read(_HEADER_BYTES)
        if not head.strip(b"\xef\xbb\xbf \t\r\n"):
            raise DataError(
                f"Expected column names and rows in {self.file}; the file is empty. "
                "Export it again."
            )
        self.is_parquet = head.startswith(b"PAR1")
        if self.is_parquet:
            self.names = self._parquet_names()
            return
        if self.path.suffix == ".parquet":
            raise DataError(
                f"Expected Parquet in {self.file}; its first bytes are of another format. "
                "Export it again, or name it .csv if it is text."
            )
        self.delimiter, self.names = self._csv_header(head)

    def _parquet_names(self) -> list[str]:
        try:
            return list(pq.ParquetFile(self.path).schema_arrow.names)
        except _UNREADABLE:
            raise self._damaged("Parquet") from None

    def _damaged(self, kind: str) -> DataError:
        return DataError(
            f"Expected whole {kind} in {self.file}; the file is damaged or cut short. "
            "Export or copy it again."
        )

    def _csv_header(self, head: bytes) -> tuple[str, list[str]]:
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._wrong_encoding("UTF-16")
        if b"\0" in head or head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
            raise DataError(
                f"Expected text (CSV) or Parquet in {self.file}; found binary content. "
                "Export it as CSV in UTF-8, not as a spreadsheet or an archive."
            )
        first, *more = head.removeprefix(b"\xef\xbb\xbf").splitlines()
        try:
            text = first.decode()
        except UnicodeDecodeError:
            raise self._wrong_encoding("another encoding") from None
        if not text.strip() or re.fullmatch("sep=.", text.strip().strip('"')):
            raise DataError(
                f"Expected column names in the first line of {self.file}; found "
                f"{'a line that tells Excel the separator' if text.strip() else 'an empty line'}. "
                "Remove that line."
            )
        if len(head) < _HEADER_BYTES and not any(line.strip() for line in more):
            raise self._no_rows()
        delimiter = max(",;\t|", key=text.count)
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
        if all(not re.search("[A-Za-z]", name) for name in names):
            raise DataError(
                f"Expected column names in the first line of {self.file}; found values. "
                "Add a first line that names the columns."
            )
        return delimiter, names

    def _no_rows(self) -> DataError:
        return DataError(
            f"Expected rows below the column names in {self.file}; found none. Export it again."
        )

    def _wrong_encoding(self, found: str) -> DataError:
        return DataError(
            f"Expected UTF-8 text in {self.file}; found {found}. Save it as 'CSV UTF-8'."
        )

    def batches(self, wanted: Sequence[str], report: ReadReport) -> Iterator[Batch]:
        """Stream the `wanted` columns; unreadable and blank rows are left out, the former booked.

        Args:
            wanted: names of columns of this file.
            report: takes the number of rows read and the defects.

        Raises:
            DataError: the file turns out damaged, in another encoding or with a column twice.
        """
        for name in wanted:
            if self.names.count(name) > 1:
                raise DataError(
                    f"Expected one column {name!r} in {self.file}; found "
                    f"{self.names.count(name)}. Rename or remove the others."
                )
        yield from (self._parquet if self.is_parquet else self._csv)(wanted, report)

    def _parquet(self, wanted: Sequence[str], report: ReadReport) -> Iterator[Batch]:
        first = 1
        try:
            # Texts as the file has them, each once: a few bytes may stand for gigabytes of rows.
            texts = [name for name in wanted if self._is_text(name)]
            with pq.ParquetFile(self.path, read_dictionary=texts) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(wanted)):
                    lines = np.arange(first, first + batch.num_rows)
                    first += batch.num_rows
                    batch.validate(full=True)
                    columns = {name: batch.column(name) for name in wanted}
                    if sum(map(_bytes_of_texts, columns.values())) > _MOST_TEXT_BYTES:
                        raise DataError(
                            f"Expected ids and titles of usual lengths in {self.file}; found "
                            f"{_BATCH_ROWS:,} rows of more than {_MOST_TEXT_BYTES >> 20} MB. "
                            "Look for a cell that holds a whole document."
                        )
                    report.rows_read += batch.num_rows
                    yield Batch(lines, columns)
        except _UNREADABLE:
            raise self._damaged("Parquet") from None

    def _is_text(self, name: str) -> bool:
        kind = pq.read_schema(self.path).field(name).type
        return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))

    def _csv(self, wanted: Sequence[str], report: ReadReport) -> Iterator[Batch]:
        unreadable: list[tuple[int, int]] = []

        def skip(row: pacsv.InvalidRow) -> str:
            unreadable.append((row.number, (row.text or "").count("\n")))
            return "skip"

        places = [self.names.index(name) for name in wanted]
        numbers = Lines(unreadable)
        try:
            with Utf8File(self.path) as source:
                for batch in self._open_csv(source, skip):
                    blank, breaks = _scan(batch)
                    lines, broken = numbers.take(breaks)
                    self._book(report, broken)
                    kept = ~blank
                    report.rows_read += int(kept.sum())
                    if kept.all():
                        columns = [batch.column(place) for place in places]
                    else:
                        mask = pa.array(kept)
                        columns = [batch.column(place).filter(mask) for place in places]
                    yield Batch(lines[kept], dict(zip(wanted, columns, strict=True)))
        except pa.ArrowInvalid as error:
            # Arrow quotes the row in its message, which may be a shopper's: tell the kind only.
            raise self._explain(str(error)) from None
        except UnicodeDecodeError:
            raise self._wrong_encoding("another encoding") from None
        self._book(report, numbers.rest())

    def _open_csv(
        self, source: Utf8File, skip: Callable[[pacsv.InvalidRow], str]
    ) -> pacsv.CSVStreamingReader:
        names = [str(place) for place in range(len(self.names))]
        return pacsv.open_csv(
            source,
            # Threads would lose the row numbers, which the reports need.
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=skip,
            ),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )

    @staticmethod
    def _book(report: ReadReport, lines: Sequence[int]) -> None:
        report.rows_read += len(lines)
        report.add(lines, "", "row with another number of cells than the first line")

    def _explain(self, message: str) -> DataError:
        if "Empty CSV" in message:
            return self._no_rows()
        return DataError(
            f"Expected well-formed CSV in {self.file}; found a quote that never closes or a row "
            "of several megabytes. Export it again with quotes doubled inside cells."
        )


def _bytes_of_texts(column: pa.Array) -> int:
    """How many bytes a column takes once every row has its own text."""
    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = pc.cast(pc.binary_length(column.dictionary), pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0)


def _scan(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which rows are blank, and how many line breaks lie inside the cells of each row."""
    blank = np.ones(batch.num_rows, dtype=bool)
    breaks = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        if blank.any():
            blank &= pc.equal(column, "").to_numpy(zero_copy_only=False)
        breaks += pc.count_substring(column, "\n").to_numpy(zero_copy_only=False)
    return blank, breaks
