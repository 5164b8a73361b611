from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data import (
    Catalogue,
    Interactions,
    Marketplace,
    Shop,
    by_labels,
    describe,
    leave_one_out,
    read_marketplace,
    read_shop,
    write_marketplace,
    write_shop,
)
from recsys.errors import DataError

N_ITEMS = 6
CATALOGUE = Catalogue(
    pd.DataFrame({"item_id": [f"t{n}" for n in range(N_ITEMS)], "title": list("ABCDEF")})
)
KINDS = ("csv", "parquet")


@st.composite
def made_shops(draw: st.DrawFn) -> dict[str, Shop]:
    shops = {}
    for name in draw(st.lists(st.sampled_from(["ann's, toys", "b", "c"]), min_size=1, unique=True)):
        toys = st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=6)
        histories = draw(st.lists(toys, min_size=1, max_size=4))
        labels = [
            sorted(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
            for n in map(len, histories)
        ]
        bought = Interactions.from_lists(histories, N_ITEMS)
        shops[name] = Shop(name, by_labels(bought, np.concatenate(labels)), bought)
    return dict(sorted(shops.items()))


def same(one: Interactions, other: Interactions) -> bool:
    return (
        one.items.tolist() == other.items.tolist()
        and one.indptr.tolist() == other.indptr.tolist()
        and one.shopper_ids.tolist() == other.shopper_ids.tolist()
    )


def check_same_shop(one: Shop, other: Shop) -> None:
    assert one.name == other.name
    assert same(one.all, other.all)
    for part in ("train", "valid", "test"):
        assert same(getattr(one.split, part), getattr(other.split, part))


@settings(max_examples=20, deadline=None)
@given(made_shops(), st.sampled_from(KINDS))
def test_marketplaces_and_shops_come_back(
    shops: dict[str, Shop], kind: Literal["csv", "parquet"]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_marketplace(folder, Marketplace(CATALOGUE, shops), kind)
        back, report = read_marketplace(folder)
        assert list(back.shops) == list(shops)
        assert report.counts == {}
        for shop_name, shop in shops.items():
            check_same_shop(back.shops[shop_name], shop)
            write_shop(folder / "shop.parquet", shop, CATALOGUE)
            check_same_shop(read_shop(folder / "shop.parquet", CATALOGUE), shop)


def write_folder(
    folder: Path, interactions: str, items: str = "item_id,title\nt1,A\nt2,B\n"
) -> None:
    (folder / "interactions.csv").write_text(interactions)
    (folder / "items.csv").write_text(items)


def test_the_same_id_at_two_merchants_is_two_shoppers(tmp_path: Path) -> None:
    write_folder(
        tmp_path,
        "merchant,shopper_id,item_id,timestamp\nx,7,t1,10\ny,7,t2,5\nx,7,t2,9\n",
        "item_id,title\nt1,A\nt2,B\nt2,C\n",
    )
    market, report = read_marketplace(tmp_path)
    assert market.shops["x"].all.history(0).tolist() == [1, 0]
    assert market.shops["y"].all.history(0).tolist() == [1]
    assert report.rows_read == report.rows_kept == 3
    assert [(p.file, p.line, p.column) for p in report.problems] == [("items.csv", 4, "item_id")]


def test_without_a_split_it_is_leave_one_out(tmp_path: Path) -> None:
    rows = "".join(f"x,a,t{1 + n % 2},{n}\n" for n in range(4))
    write_folder(tmp_path, "merchant,shopper_id,item_id,position\n" + rows)
    split = read_marketplace(tmp_path)[0].shops["x"].split
    assert [part.n_purchases for part in (split.train, split.valid, split.test)] == [2, 1, 1]


def test_missing_or_ambiguous_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_marketplace(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"interactions\.csv or interactions\.parquet"):
        read_marketplace(tmp_path)
    (tmp_path / "interactions.csv").write_text("merchant,shopper_id,item_id,position\n")
    with pytest.raises(DataError, match=r"items\.csv or items\.parquet"):
        read_marketplace(tmp_path)
    (tmp_path / "interactions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="found both"):
        read_marketplace(tmp_path)


def test_a_missing_merchant_column_names_what_is_near(tmp_path: Path) -> None:
    write_folder(tmp_path, "merchnt,shopper_id,item_id,position\nx,a,t1,1\n")
    with pytest.raises(DataError, match=r"column for merchant .* Close to merchant: 'merchnt'"):
        read_marketplace(tmp_path)


def test_writing_removes_the_other_kind(tmp_path: Path) -> None:
    bought = Interactions.from_lists([[1, 2, 3]], N_ITEMS)
    market = Marketplace(CATALOGUE, {"x": Shop("x", leave_one_out(bought), bought)})
    write_marketplace(tmp_path, market, "parquet")
    write_marketplace(tmp_path, market, "csv")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["interactions.csv", "items.csv"]


def test_describe_counts() -> None:
    bought = Interactions.from_lists([[1, 2, 3], [1, 1]], N_ITEMS)
    facts = describe(Marketplace(CATALOGUE, {"x": Shop("x", leave_one_out(bought), bought)}))
    assert (facts["toys"], facts["toys_bought"], facts["shoppers"], facts["purchases"]) == (
        6,
        3,
        2,
        5,
    )
    assert facts["density"] == pytest.approx(4 / 12)
    assert facts["merchants"]["x"]["test"] == 1
    assert describe(Marketplace(CATALOGUE, {}))["shoppers"] == 0


def test_shop_files_are_private_and_checked(tmp_path: Path) -> None:
    bought = Interactions.from_lists([[1, 2, 3]], N_ITEMS, ["anna-secret"])
    shop = Shop("x", leave_one_out(bought), bought)
    path = tmp_path / "shop.parquet"
    write_shop(path, shop, CATALOGUE)
    assert path.stat().st_mode & 0o777 == 0o600
    other = Catalogue(pd.DataFrame({"item_id": ["t1", "t2"], "title": ["A", "B"]}))
    with pytest.raises(DataError, match="toys of this catalogue") as caught:
        read_shop(path, other)
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="own catalogue"):
        write_shop(path, shop, other)
    with pytest.raises(DataError, match="not a file"):
        read_shop(tmp_path / "nothing", CATALOGUE)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="damaged"):
        read_shop(path, CATALOGUE)
    pd.DataFrame({"shopper_id": ["a"]}).to_parquet(path)
    with pytest.raises(DataError, match="columns shopper_id, item_id, position and split"):
        read_shop(path, CATALOGUE)


def test_the_real_data_has_the_published_counts(real_data: Path) -> None:
    market, report = read_marketplace(real_data)
    facts = describe(market)
    assert (report.rows_read, report.rows_kept, report.counts) == (167_597, 167_597, {})
    assert (facts["shoppers"], facts["toys"]) == (19_412, 11_924)
    assert facts["density"] == pytest.approx(0.000724, abs=5e-7)
    assert (facts["purchases_per_shopper_median"], facts["purchases_per_shopper_max"]) == (6, 550)
    assert (facts["shoppers_per_toy_median"], facts["shoppers_per_toy_max"]) == (9, 309)
    assert len(market.shops) == 8
    sizes = [shop.all.n_shoppers for shop in market.shops.values()]
    assert (min(sizes), max(sizes)) == (1_380, 3_433)
    for shop in market.shops.values():
        own = leave_one_out(shop.all)
        assert same(own.test, shop.split.test)
        assert same(own.train, shop.split.train)
