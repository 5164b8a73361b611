from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from recsys.data import convert_amazon, read_marketplace
from recsys.data.amazon import k_core
from recsys.data.amazon_meta import read_amazon_meta
from recsys.data.amazon_reviews import read_amazon_reviews
from recsys.errors import DataError


def json_lines(rows: list[object]) -> str:
    return "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)


def test_2023_joins_on_the_parent_and_counts_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "Toys.jsonl"
    path.write_text(
        json_lines(
            [
                {
                    "user_id": "u-secret",
                    "asin": "v1",
                    "parent_asin": "P1",
                    "timestamp": 1_600_000_000_000,
                },
                "not json\n",
                "\n",
                {"user_id": "u-secret", "asin": "v2", "timestamp": 1_600_000_001_000},
                {"user_id": "", "parent_asin": "P1", "timestamp": 1},
                {"user_id": "w", "timestamp": 1},
                {"user_id": "w", "parent_asin": "P1", "timestamp": "soon"},
                ["a list"],
            ]
        )
    )
    reviews, report = read_amazon_reviews(path)
    assert reviews.item_names.tolist() == ["P1", "v2"]
    assert reviews.times.tolist() == [1_600_000_000_000, 1_600_000_001_000]
    assert {p.line: p.what for p in report.problems} == {
        2: "not a JSON object",
        5: "shopper missing",
        6: "item missing",
        7: "time missing or not a number",
        8: "not a JSON object",
    }
    assert (report.rows_read, report.rows_kept) == (7, 2)
    assert "secret" not in report.summary()


def test_2018_counts_seconds_and_may_be_zipped(tmp_path: Path) -> None:
    path = tmp_path / "Toys_5.json.gz"
    path.write_bytes(
        gzip.compress(
            json_lines([{"reviewerID": "u", "asin": "A", "unixReviewTime": 1_400_000_000}]).encode()
        )
    )
    reviews, _ = read_amazon_reviews(path)
    assert reviews.times.tolist() == [1_400_000_000_000]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match="damaged"):
        read_amazon_reviews(path)


@pytest.mark.parametrize(
    "text",
    ["A,u,5.0,1400000000\n", "user_id,parent_asin,rating,timestamp\nu,A,5.0,1400000000000\n"],
)
def test_ratings_only_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text + "short\n")
    reviews, report = read_amazon_reviews(path)
    assert reviews.item_names.tolist() == ["A"]
    assert reviews.times.tolist() == [1_400_000_000_000]
    assert list(report.counts) == ["row with too few cells"]


def test_metadata_of_both_years(tmp_path: Path) -> None:
    path = tmp_path / "meta.jsonl"
    path.write_text(
        json_lines(
            [
                {
                    "parent_asin": "P1",
                    "title": "Ball &amp; Bat",
                    "store": "Maker",
                    "categories": ["Toys & Games", "Sports"],
                    "price": 9.5,
                    "details": {"Manufacturer recommended age": "36 months - 6 years"},
                    "images": [{"large": "https://pictures.example/1.jpg"}],
                },
                {
                    "asin": "A1",
                    "title": "var x = new Date().getTime()",
                    "brand": "Old",
                    "category": ["Toys & Games"],
                    "price": "$1,012.99 - $1,020.00",
                    "imageURL": ["http://pictures.example/2.jpg"],
                    "details": {"Manufacturer recommended age": "8 years and up"},
                },
                {"asin": "unwanted"},
                {"asin": "A2", "price": "\u2014", "categories": []},
                "{broken\n",
            ]
        )
    )
    facts, report = read_amazon_meta(path, {"P1", "A1", "A2"})
    assert facts["P1"] == {
        "title": "Ball & Bat",
        "category_path": "Toys & Games > Sports",
        "brand": "Maker",
        "price": 9.5,
        "age_from": 3.0,
        "age_to": 6.0,
        "image_url": "https://pictures.example/1.jpg",
    }
    assert "title" not in facts["A1"]
    assert (facts["A1"]["price"], facts["A1"]["age_from"], facts["A1"]["age_to"]) == (
        1012.99,
        8,
        None,
    )
    assert facts["A1"]["image_url"] == ""
    assert facts["A2"]["price"] is None
    assert [p.line for p in report.problems] == [5]


def test_k_core_is_a_fixed_point() -> None:
    generator = np.random.default_rng(0)
    shoppers, items = generator.integers(0, 60, 400), generator.integers(0, 60, 400)
    kept = k_core(shoppers, items, 5)
    assert kept.any()
    for codes in (shoppers[kept], items[kept]):
        assert np.unique(codes, return_counts=True)[1].min() >= 5
    assert k_core(shoppers, items, 1).all()
    assert not k_core(shoppers, items, 1000).any()


def test_convert(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    rows: list[object] = [
        {"user_id": f"user-{u}", "parent_asin": f"P{i}", "timestamp": 1_600_000_000_000 + n}
        for u in range(60)
        for n, i in enumerate(generator.choice(20, size=8, replace=False))
    ]
    rows.append({"user_id": "user-0", "parent_asin": "rare", "timestamp": 1_600_000_000_000})
    rows.append(dict(rows[0], timestamp=1_700_000_000_000))  # type: ignore[call-overload]
    (tmp_path / "r.jsonl").write_text(json_lines(rows))
    meta: list[object] = [
        {"parent_asin": f"P{i}", "title": f"Toy {i}", "categories": ["Toys", f"C{i % 4}"]}
        for i in range(20)
    ]
    (tmp_path / "m.jsonl").write_text(json_lines(meta))
    made = []
    for out in ("one", "two"):
        report = convert_amazon(
            tmp_path / "r.jsonl", tmp_path / "m.jsonl", tmp_path / out, merchants=3, seed=4
        )
        assert (report.rows_read, report.rows_kept) == (482, 480)
        made.append((tmp_path / out / "interactions.csv").read_text())
    assert made[0] == made[1]
    assert "user-" not in made[0]
    market, _ = read_marketplace(tmp_path / "one")
    assert market.catalogue.frame["title"].str.startswith("Toy ").all()
    assert sum(shop.all.n_shoppers for shop in market.shops.values()) == 60
    assert len({shop.all.n_shoppers for shop in market.shops.values()}) == 3
    with pytest.raises(DataError, match="smaller core"):
        convert_amazon(tmp_path / "r.jsonl", None, tmp_path / "x", core=99)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="Expected Amazon reviews"):
        convert_amazon(tmp_path / "empty.jsonl", None, tmp_path / "x")
