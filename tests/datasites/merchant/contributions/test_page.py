"""What a stranger may leave in a page, and what is read of it."""

from __future__ import annotations

import os
import struct

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from datasites.merchant.contributions.page import Page, RowArray
from datasites.merchant.contributions.zygote.answers import encode

ARRAYS = [RowArray("counts", (4,)), RowArray("sums", (4, 2))]
HISTORY = np.array([1, 2], np.int32)
OUT = 16 + 8


def read(row: bytes, status: int = 1, said: bytes = b"") -> object:
    with Page(HISTORY, ARRAYS) as page:
        os.pwrite(page.handle, struct.pack("<IIQQ", status, 0, len(row), len(said)), OUT)
        os.pwrite(page.handle, (row + said)[:400], OUT + 24)
        return page.answer()


def test_a_row_comes_back_as_it_was_left() -> None:
    spec = [(one.name, one.shape) for one in ARRAYS]
    row = encode({"counts": np.arange(4.0), "sums": ([3, 1, 3], np.ones((3, 2)))}, spec)
    answer = read(row)
    (dense, counts), (indices, sums) = answer.parts  # type: ignore[attr-defined]
    assert dense is None
    assert counts.ravel().tolist() == [0, 1, 2, 3]
    assert indices.tolist() == [1, 3]
    assert sums.tolist() == [[1, 1], [2, 2]]


def test_an_untouched_page_is_no_row() -> None:
    with Page(HISTORY, ARRAYS) as page:
        assert page.answer().parts is None


def test_text_of_a_program_is_plain() -> None:
    assert "\x1b" not in read(b"", 2, b"\x1b[31mred").text  # type: ignore[attr-defined]


@given(st.binary(max_size=200), st.integers(0, 3))
def test_whatever_is_left_gives_an_answer(row: bytes, status: int) -> None:
    answer = read(row, status)
    for (indices, values), array in zip(answer.parts or [], ARRAYS, strict=False):  # type: ignore[attr-defined]
        assert values.shape[1] == array.inner
        assert indices is None or ((indices >= 0) & (indices < array.shape[0])).all()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4))
@example([0, 2**63 - 1, -2, 3])
def test_indices_are_inside_and_rise_or_there_is_no_row(indices: list[int]) -> None:
    row = struct.pack(f"<BQ{len(indices)}q", 1, len(indices), *indices)
    row += struct.pack(f"<{len(indices)}d", *[1.0] * len(indices)) + struct.pack("<BQ", 1, 0)
    parts = read(row).parts  # type: ignore[attr-defined]
    fits = indices == sorted(set(indices)) and all(0 <= one < 4 for one in indices)
    assert (parts is not None) == fits


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_sizes_give_an_answer(rows: int, said: int) -> None:
    with Page(HISTORY, ARRAYS) as page:
        os.pwrite(page.handle, struct.pack("<IIQQ", 1, 0, rows, said), OUT)
        page.answer()
