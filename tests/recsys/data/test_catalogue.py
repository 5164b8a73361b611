from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data import Catalogue, read_catalogue, write_catalogue
from recsys.errors import DataError


def test_facts(catalogue: Catalogue) -> None:
    assert catalogue.n_items == len(catalogue) == 6
    assert catalogue.index_of["t4"] == 4
    assert catalogue.text()[0] == "Toy 0 Toys > Dolls Larchwood & Co"
    assert catalogue.text()[1] == "Toy 1 Toys > Dolls"
    assert catalogue.categories(2)[5] == "Toys > Games"
    assert catalogue.categories()[5] == "Toys > Games > Dice"
    assert np.isnan(catalogue.frame["price"][1])
    assert np.isnan(catalogue.frame["age_from"]).all()


def test_digest_follows_ids_titles_and_order(catalogue: Catalogue) -> None:
    frame = catalogue.frame
    assert Catalogue(frame.assign(price=7.0)).digest == catalogue.digest
    assert Catalogue(frame.iloc[::-1]).digest != catalogue.digest
    assert Catalogue(frame.assign(title=frame["title"] + "!")).digest != catalogue.digest
    one = Catalogue(pd.DataFrame({"item_id": ["ab"], "title": ["c"]}))
    two = Catalogue(pd.DataFrame({"item_id": ["a"], "title": ["bc"]}))
    assert one.digest != two.digest


@pytest.mark.parametrize("ids", [["a", "a"], ["a", ""], ["a", None]])
def test_blank_and_repeated_ids_are_refused(ids: list[str]) -> None:
    with pytest.raises(DataError, match="item_id of its own"):
        Catalogue(pd.DataFrame({"item_id": ids, "title": ["x", "y"]}))


def test_missing_column_is_refused() -> None:
    with pytest.raises(DataError, match="missing: title"):
        Catalogue(pd.DataFrame({"item_id": ["a"]}))


@pytest.mark.parametrize("name", ["items.csv", "items.parquet", "whatever.tmp"])
def test_round_trip(tmp_path: Path, catalogue: Catalogue, name: str) -> None:
    write_catalogue(tmp_path / name, catalogue)
    back, report = read_catalogue(tmp_path / name)
    pd.testing.assert_frame_equal(back.frame, catalogue.frame)
    assert back.digest == catalogue.digest
    assert (report.rows_read, report.rows_kept, report.counts) == (6, 6, {})


def test_defects_are_reported_by_line(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(
        "item_id,title,category_path,price,age_from,age_to,image_url,colour\n"
        "a,Ball,Toys>Outdoor > Balls >,9.5,3,6,https://pictures.example/a.png,red\n"
        ",Lost,,1,,,,\n"
        "a,Ball again,,1,,,,\n"
        "b,,,NaN,7,3,javascript:alert(1),\n"
        "c,Doll,,-4,x,,,\n"
        "d,Kite\n"
    )
    made, report = read_catalogue(path)
    assert made.item_ids.tolist() == ["a", "b", "c"]
    assert made.frame["category_path"][0] == "Toys > Outdoor > Balls"
    assert made.frame["title"][1] == "b"
    assert made.frame["image_url"].tolist() == ["https://pictures.example/a.png", "", ""]
    assert np.isnan(made.frame[["price", "age_from", "age_to"]].to_numpy()[1:]).all()
    found = {(p.line, p.column, p.what.split(" (")[0]) for p in report.problems}
    assert found == {
        (3, "item_id", "item_id missing"),
        (4, "item_id", "item_id again"),
        (5, "title", "title missing"),
        (5, "price", "price not a number"),
        (5, "age_from", "age_from above age_to"),
        (5, "image_url", "image_url not a web address"),
        (6, "price", "price negative"),
        (6, "age_from", "age_from not a number"),
        (7, "", "row with another number of cells than the first line"),
    }
    assert (report.rows_read, report.rows_kept) == (6, 3)


def test_usual_names_and_mapping(tmp_path: Path) -> None:
    path = tmp_path / "goods.csv"
    path.write_text("SKU;Product Name;Hersteller\n1;Ball;Quillberry\n")
    made, report = read_catalogue(path, {"brand": "Hersteller"})
    assert made.frame.loc[0, ["item_id", "title", "brand"]].tolist() == ["1", "Ball", "Quillberry"]
    assert report.columns == {"item_id": "SKU", "title": "Product Name", "brand": "Hersteller"}


def test_no_toy_survives(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n,Ball\n")
    with pytest.raises(DataError, match=r"Expected toys in items\.csv"):
        read_catalogue(path)


def test_a_cell_that_holds_a_whole_document_does_not_reach_pages(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text(
        "item_id,title,image_url\n"
        f"{'a' * 257},Ball,\n"
        f"{'b' * 256},{'Ä' * 2000},https://pictures.example/{'x' * 300_000}\n"
    )
    made, report = read_catalogue(path)
    assert made.frame["title"].tolist() == ["Ä" * 1000]
    assert made.frame["image_url"].tolist() == [""]
    assert {(p.line, p.what) for p in report.problems} == {
        (2, "item_id longer than 256 characters"),
        (3, "title longer than 1,000 characters (cut there)"),
        (3, "image_url longer than 200,000 characters (left out)"),
    }
