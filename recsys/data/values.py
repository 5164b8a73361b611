"""Turns whole columns of text (or typed Parquet) into ids, numbers, times and split labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import TEST, TRAIN, VALID
from recsys.errors import DataError

__all__ = [
    "MOST_ID",
    "as_ids",
    "as_labels",
    "as_numbers",
    "as_positions",
    "as_text",
    "as_times",
    "longer_than",
]

Mask = npt.NDArray[np.bool_]

MOST_ID = 256
"""Characters of an id. A longer one is a cell that went astray, and would be kept for each row."""
_NOTHING = ("", "nan", "null", "none", "na", "n/a", "<na>")
_LABELS = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
}
# A time of 8 digits is a date like 20240131; seconds since 1970 have had 9 or 10 since 1973.
_FIRST_DATE, _LAST_DATE = 19_000_101, 22_001_231
# Above these, a number counts milliseconds, microseconds, nanoseconds since 1970: as seconds it
# would lie beyond the year 5138.
_UNITS = ((10**17, 10**6, 1), (10**14, 10**3, 1), (10**11, 1, 1), (0, 1, 1000))


def as_text(column: pa.Array) -> pa.Array:
    """The column as trimmed text; a missing value is ""."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        # Spreadsheets turn whole numbers into floats as soon as one is missing.
        whole = pc.equal(pc.floor(column), column)
        column = pc.if_else(
            whole,
            pc.cast(pc.cast(pc.if_else(whole, column, 0), pa.int64(), safe=False), pa.string()),
            pc.cast(column, pa.string()),
        )
    try:
        text = pc.cast(column, pa.string())
    except pa.ArrowException:
        raise DataError(
            f"Expected plain texts, numbers or times in a column; found {column.type} or bytes "
            "that are no text. Export it as text."
        ) from None
    return pc.fill_null(pc.utf8_trim_whitespace(text), "")


def as_ids(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Ids as text, and which are missing (blank, NaN, null, none, NA)."""
    text = as_text(column)
    short = pc.less_equal(pc.utf8_length(text), 4)
    missing = pc.and_(short, pc.is_in(pc.utf8_lower(text), value_set=pa.array(_NOTHING)))
    return text, _mask(missing)


def longer_than(text: pa.Array, most: int) -> Mask:
    """Which texts have more than so many characters."""
    return _mask(pc.greater(pc.utf8_length(text), most))


def as_numbers(column: pa.Array) -> tuple[npt.NDArray[np.float64], Mask, Mask]:
    """Numbers as float64 (NaN where none), which cells are blank, and which are no number."""
    if _is_number(column.type):
        values = pc.cast(column, pa.float64(), safe=False)
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
        blank = _mask(column.is_null())
        return numbers, blank, ~blank & ~np.isfinite(numbers)
    text = as_text(column)
    blank = _mask(pc.equal(text, ""))
    ok = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$")
    # Arrow's parser takes no leading plus sign.
    text = pc.utf8_ltrim(text, "+")
    numbers = pc.cast(pc.if_else(ok, text, "nan"), pa.float64()).to_numpy(zero_copy_only=False)
    return numbers, blank, ~blank & ~np.isfinite(numbers)


def as_positions(column: pa.Array) -> tuple[npt.NDArray[np.int64], Mask]:
    """Whole numbers as int64, and which cells are none."""
    values, bad = _integers(column)
    return values, bad


def as_times(column: pa.Array) -> tuple[npt.NDArray[np.int64], Mask]:
    """Milliseconds since 1970 UTC as int64, and which cells are no time.

    Read are ISO 8601 dates and times (those without a zone as UTC), dates as 20240131, and
    seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size.
    """
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        return _typed_times(column)
    values, bad = _integers(column)
    times = np.zeros(len(values), dtype=np.int64)
    left = ~bad & (values >= 0)
    dates = left & (values >= _FIRST_DATE) & (values <= _LAST_DATE)
    left &= ~dates
    for threshold, divisor, factor in _UNITS:
        here = left & (values >= threshold)
        times[here] = values[here] // divisor * factor
        left &= ~here
    bad |= values < 0
    if dates.any():
        parsed = pd.to_datetime(values[dates].astype(str), format="%Y%m%d", errors="coerce")
        _store(times, bad, dates, parsed)
    text_rows = np.zeros_like(bad) if _is_number(column.type) else bad.copy()
    if text_rows.any():
        text = as_text(column.filter(pa.array(text_rows))).to_pandas()
        like = text.str.match(r"^\d{4}-?\d\d-?\d\d([T ]|$)").to_numpy(dtype=bool)
        parsed = pd.to_datetime(text.where(like, ""), format="ISO8601", errors="coerce", utc=True)
        _store(times, bad, text_rows, pd.DatetimeIndex(parsed).tz_localize(None))
    return times, bad


def as_labels(column: pa.Array) -> tuple[npt.NDArray[np.int8], Mask, Mask]:
    """Split labels as int8 (0 train, 1 valid, 2 test), which cells are blank, which are others."""
    text = pc.utf8_lower(as_text(column))
    blank = _mask(pc.equal(text, ""))
    places = pc.fill_null(pc.index_in(text, value_set=pa.array(list(_LABELS))), -1)
    index = places.to_numpy(zero_copy_only=False)
    labels = np.array([*_LABELS.values(), TRAIN], dtype=np.int8)[index]
    return labels, blank, ~blank & (index < 0)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _mask(array: pa.Array) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False).astype(bool)
    return mask


def _integers(column: pa.Array) -> tuple[npt.NDArray[np.int64], Mask]:
    if _is_number(column.type):
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        bad = ~np.isfinite(numbers) | (np.floor(numbers) != numbers) | (np.abs(numbers) >= 2**62)
        if pa.types.is_integer(column.type):
            exact = pc.cast(pc.fill_null(column, 0), pa.int64(), safe=False)
            return np.where(bad, 0, exact.to_numpy(zero_copy_only=False)), bad
        return np.where(bad, 0, numbers).astype(np.int64), bad
    text = as_text(column)
    ok = pc.match_substring_regex(text, r"^-?\d{1,18}(\.0*)?$")
    # Pandas writes whole numbers as 3.0 as soon as one is missing in the column.
    plain = pc.replace_substring_regex(pc.if_else(ok, text, "0"), r"\.0*$", "")
    return pc.cast(plain, pa.int64()).to_numpy(zero_copy_only=False), ~_mask(ok)


def _typed_times(column: pa.Array) -> tuple[npt.NDArray[np.int64], Mask]:
    bad = _mask(column.is_null())
    stamps = pc.cast(column, pa.timestamp("ms"), safe=False)
    times = pc.cast(pc.fill_null(pc.cast(stamps, pa.int64()), 0), pa.int64())
    return times.to_numpy(zero_copy_only=False), bad


def _store(times: npt.NDArray[np.int64], bad: Mask, rows: Mask, parsed: pd.DatetimeIndex) -> None:
    failed = np.asarray(parsed.isna())
    stamps = parsed.to_numpy().astype("datetime64[ms]").astype(np.int64)
    times[rows] = np.where(failed, 0, stamps)
    bad[rows] = failed
