from __future__ import annotations

import contextlib
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data import Catalogue, read_purchases
from recsys.errors import DataError

HEAD = "shopper_id,item_id,timestamp\n"
PRIVATE = "anna-private"


def write(folder: Path, text: str | bytes, name: str = "purchases.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_defect_is_reported_by_line_and_never_by_value(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    path = write(
        tmp_path,
        "shopper_id,item_id,timestamp,quantity,split,note\n"
        'anna-private,t1,2024-01-02,1,train,"two\nlines"\n'
        ",t1,2024-01-02,1,train,\n"
        "anna-private,NaN,2024-01-02,1,train,\n"
        "anna-private,t99-private,2024-01-02,1,train,\n"
        "anna-private,t2,31/12/2024-private,1,train,\n"
        "anna-private,t2,2024-02-30,1,train,\n"
        "\n"
        "anna-private,t2,,1,train,\n"
        "anna-private,t2,2024-01-03,-1,train,\n"
        "anna-private,t2,2024-01-03,many-private,train,\n"
        "anna-private,t2,2024-01-03,1,later-private,\n"
        "anna-private,t2,2024-01-03,1,,\n"
        "anna-private,t1,2024-01-02,1,train,again\n"
        "anna-private,t3\n"
        "anna-private,t3,2024-01-04,,valid,\n"
        "anna-private,t4,2024-01-01,1,test,\n",
    )
    bought, report = read_purchases(path, catalogue)
    found = {
        problem.line: (problem.column, problem.what.split(" (")[0]) for problem in report.problems
    }
    assert found == {
        2: ("split", "split against the order of time"),
        4: ("shopper_id", "shopper_id missing"),
        5: ("item_id", "item_id missing"),
        6: ("item_id", "item_id not in the catalogue"),
        7: ("timestamp", "timestamp missing or neither an ISO date nor epoch time"),
        8: ("timestamp", "timestamp missing or neither an ISO date nor epoch time"),
        10: ("timestamp", "timestamp missing or neither an ISO date nor epoch time"),
        11: ("quantity", "quantity of 0 or less: not a purchase"),
        12: ("quantity", "quantity not a number"),
        13: ("split", "split not one of train, valid, test"),
        14: ("split", "split missing"),
        15: ("", "the same purchase again"),
        16: ("", "row with another number of cells than the first line"),
        17: ("split", "split against the order of time"),
    }
    assert (report.rows_read, report.rows_kept) == (15, 3)
    assert bought.interactions.history(0).tolist() == [1, 3, 4]
    assert bought.split is not None
    assert bought.split.test.history(0).tolist() == [4]
    assert "private" not in report.summary()
    assert "private" not in repr(report)
    assert "private" not in repr(bought)
    assert "column shopper_id, line 4" in report.summary()


def test_line_numbers_hold_across_blocks(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.data.tables._BLOCK_BYTES", 400)
    lines = [f"s{n},t{n % 6},{n}" for n in range(500)]
    lines[120] = "only-one-cell"
    lines[121] = "s,unknown,1"
    lines[300] = '"s\n9",t1,3'
    lines[301] = ""
    lines[499] = "x,y,z,w"
    path = write(tmp_path, "shopper_id,item_id,position\n" + "\n".join(lines))
    _, report = read_purchases(path, catalogue)
    assert sorted(problem.line for problem in report.problems) == [122, 123, 502]
    assert (report.rows_read, report.rows_kept) == (499, 496)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-01", "2024-03-01"),
        ("20240301", "2024-03-01"),
        ("2024-03-01T12:30:00Z", "2024-03-01T12:30"),
        ("2024-03-01 12:30:00+02:00", "2024-03-01T10:30"),
        ("2024-03-01 12:30", "2024-03-01T12:30"),
        ("1709296200", "2024-03-01T12:30"),
        ("1709296200000", "2024-03-01T12:30"),
        ("1709296200000000", "2024-03-01T12:30"),
        ("1709296200.0", "2024-03-01T12:30"),
    ],
)
def test_times(tmp_path: Path, catalogue: Catalogue, text: str, expected: str) -> None:
    bought, _ = read_purchases(write(tmp_path, f"{HEAD}a,t1,{text}\n"), catalogue)
    assert bought.timed
    assert bought.order.tolist() == [np.datetime64(expected, "ms").astype(np.int64)]


@pytest.mark.parametrize(
    "text", ["", "NaN", "inf", "1e999", "-5", "yesterday", "01.02.2024", "12:30", "20241399"]
)
def test_what_is_no_time(tmp_path: Path, catalogue: Catalogue, text: str) -> None:
    path = write(tmp_path, f"{HEAD}a,t1,2024-01-01\na,t2,{text}\n")
    _, report = read_purchases(path, catalogue)
    assert (report.rows_kept, [problem.line for problem in report.problems]) == (1, [3])


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("customer_id,sku,order_date", None),
        ("User,ASIN,Date", None),
        ("CustomerID;StockCode;InvoiceDate", None),
        ("kunde\tware\tzeit", {"shopper_id": "kunde", "item_id": "ware", "timestamp": "zeit"}),
        ('"customer","product id","purchased at"', None),
    ],
)
def test_columns_are_found_by_usual_names_or_mapping(
    tmp_path: Path, catalogue: Catalogue, head: str, columns: dict[str, str] | None
) -> None:
    mark = next(mark for mark in ",;\t" if mark in head)
    row = mark.join(["a", "t1", "2024-01-01"])
    bought, report = read_purchases(write(tmp_path, f"\ufeff{head}\n{row}\n"), catalogue, columns)
    assert bought.interactions.history(0).tolist() == [1]
    assert set(report.columns) == {"shopper_id", "item_id", "timestamp"}


def test_parquet_with_types(tmp_path: Path, catalogue: Catalogue) -> None:
    frame = pd.DataFrame(
        {
            "customer": [7.0, 7.0, None],
            "item_id": pd.Categorical(["t2", "t1", "t1"]),
            "date": [datetime(2024, 1, 2), datetime(2024, 1, 1), datetime(2024, 1, 1)],
        }
    )
    frame.to_parquet(tmp_path / "p.parquet")
    bought, report = read_purchases(tmp_path / "p.parquet", catalogue)
    assert bought.interactions.shopper_ids.tolist() == ["7"]
    assert bought.interactions.history(0).tolist() == [1, 2]
    assert [(problem.line, problem.what) for problem in report.problems] == [
        (3, "shopper_id missing")
    ]


def test_positions_and_ties_keep_the_files_order(tmp_path: Path, catalogue: Catalogue) -> None:
    text = "shopper_id,item_id,position\nb,t5,0\na,t3,1\na,t2,1\na,t4,0\n"
    bought, _ = read_purchases(write(tmp_path, text), catalogue)
    assert not bought.timed
    assert bought.interactions.shopper_ids.tolist() == ["a", "b"]
    assert bought.interactions.history(0).tolist() == [4, 3, 2]
    assert bought.split is None
    assert bought.split_or_leave_one_out().test.history(0).tolist() == [2]


def test_a_blank_split_column_is_no_split(tmp_path: Path, catalogue: Catalogue) -> None:
    bought, report = read_purchases(
        write(tmp_path, "shopper_id,item_id,position,split\na,t1,0,\na,t2,1,\n"), catalogue
    )
    assert bought.split is None
    assert report.counts == {}


BAD_FILES = [
    (b"", "empty"),
    (b"\xef\xbb\xbf \n\n", "empty"),
    (HEAD, "rows below the column names"),
    (HEAD.strip(), "rows below the column names"),
    (f"\n{HEAD}{PRIVATE},t1,1\n", "found an empty line"),
    (f"sep=,\n{HEAD}{PRIVATE},t1,1\n", "tells Excel the separator"),
    (f"{HEAD}{PRIVATE * 99},t1,1\n", "shopper_id longer than 256 characters"),
    (f"{HEAD}{PRIVATE},unknown,2024-01-01\n", "none that can be used"),
    (f"client,thing,timestamp\n{PRIVATE},t1,1\n", "column for item_id"),
    (f"shopper_id,itm_id,timestamp\n{PRIVATE},t1,1\n", "'itm_id'"),
    (f"shopper_id,item_id\n{PRIVATE},t1\n", "column for timestamp or position"),
    ("1001,3,20240101\n1002,4,20240102\n", "names the columns"),
    (f"{PRIVATE},t1,2024-01-01\n{PRIVATE},t2,2024-01-02\n", "column for shopper_id"),
    (f"shopper_id,shopper_id,item_id,position\n{PRIVATE},x,t1,1\n", "found 2"),
    (b"PK\x03\x04" + bytes(range(256)), "binary"),
    (b"\x1f\x8b\x08" + bytes(range(256)), "binary"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
    (f"{HEAD}{PRIVATE},t1,1\n".encode("utf-16"), "UTF-16"),
    (f"{HEAD}{PRIVATE}-h\xe4ns,t1,1\n".encode("latin-1"), "UTF-8"),
    (f"{HEAD}{PRIVATE},t1,1\nh\xe4ns\n".encode("latin-1"), "UTF-8"),
    (f"{HEAD}{PRIVATE},t1,1\nh\xc3".encode("latin-1"), "UTF-8"),
    ("sh\xf6pper_id,item_id,timestamp\n".encode("latin-1"), "UTF-8"),
    (b"PAR1 but no Parquet", "damaged"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_unusable_files_are_refused(
    tmp_path: Path, catalogue: Catalogue, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_purchases(write(tmp_path, content), catalogue)
    text = str(caught.value)
    assert text.startswith("Expected")
    assert PRIVATE not in text
    assert str(tmp_path) not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_open_quote_is_refused(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.data.tables._BLOCK_BYTES", 100)
    text = HEAD + f'"{PRIVATE},t1,1\n' + "b,t1,1\n" * 100
    with pytest.raises(DataError, match="quote that never closes") as caught:
        read_purchases(write(tmp_path, text), catalogue)
    assert PRIVATE not in str(caught.value)


def test_a_file_of_several_merchants_is_read_for_one_of_them(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    rows = "castle,a,t1,1\ncastle,b,t2,1\nharbour,a,t3,1\n"
    path = write(tmp_path, f"merchant,shopper_id,item_id,position\n{rows}")
    with pytest.raises(DataError, match="found those of castle, harbour") as refused:
        read_purchases(path, catalogue)
    assert "--merchant" in str(refused.value)
    bought, report = read_purchases(path, catalogue, merchant="castle")
    assert (bought.interactions.n_shoppers, report.rows_kept) == (2, 2)
    with pytest.raises(DataError, match="found those of castle, harbour"):
        read_purchases(path, catalogue, merchant="hill")
    # One merchant, or one with several stores, is nobody's mistake.
    one = write(tmp_path, "merchant,shopper_id,item_id,position\ncastle,a,t1,1\n,b,t2,1\n")
    assert read_purchases(one, catalogue)[1].rows_kept == 2
    stores = write(tmp_path, "store,shopper_id,item_id,position\nx,a,t1,1\ny,b,t2,1\n")
    assert read_purchases(stores, catalogue)[1].rows_kept == 2


def test_missing_files_and_wrong_mappings_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match="not a file"):
        read_purchases(tmp_path / "nothing.csv", catalogue)
    with pytest.raises(DataError, match="not a file"):
        read_purchases(tmp_path, catalogue)
    path = write(tmp_path, f"{HEAD}a,t1,1\n")
    with pytest.raises(DataError, match="'custmer'"):
        read_purchases(path, catalogue, {"shopper_id": "custmer"})
    with pytest.raises(DataError, match="'shoper'"):
        read_purchases(path, catalogue, {"shoper": "shopper_id"})
    text = write(tmp_path, HEAD, "text.parquet")
    with pytest.raises(DataError, match="another format"):
        read_purchases(text, catalogue)


def test_only_the_first_hundred_problems_are_kept(tmp_path: Path, catalogue: Catalogue) -> None:
    path = write(tmp_path, HEAD + "a,t1,1\n" + "a,unknown,1\n" * 250)
    _, report = read_purchases(path, catalogue)
    assert len(report.problems) == 100
    assert report.counts == {"item_id not in the catalogue": 250}
    assert "250 × item_id not in the catalogue" in report.summary()


GOOD = f"shopper_id,item_id,timestamp,split\n{PRIVATE},t1,2024-01-01,train\nb,t2,5,test\n".encode()
CATALOGUE = Catalogue(pd.DataFrame({"item_id": ["t1", "t2"], "title": ["A", "B"]}))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 6), st.binary(max_size=6)), max_size=5
    )
)
def test_damaged_bytes_are_read_or_refused(cuts: list[tuple[int, int, bytes]]) -> None:
    content = GOOD
    for place, length, piece in cuts:
        content = content[:place] + piece + content[place + length :]
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(DataError):
        bought, report = read_purchases(write(Path(folder), content), CATALOGUE)
        assert bought.interactions.n_purchases == report.rows_kept <= report.rows_read
