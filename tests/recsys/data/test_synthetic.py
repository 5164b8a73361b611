from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from recsys.data import (
    Habits,
    Marketplace,
    describe,
    read_marketplace,
    synthesize,
    toy_picture_uri,
    toy_svg,
)
from recsys.data.pictures import _DRAWINGS, _drawing_of
from recsys.data.toy_words import KINDS
from recsys.errors import DataError


@pytest.fixture(scope="module")
def market() -> Marketplace:
    return synthesize(None, merchants=4, shoppers=3_000, toys=300, seed=5)


def test_the_same_seed_gives_the_same_marketplace(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        synthesize(tmp_path / folder, merchants=2, shoppers=60, toys=30, seed=3)
    for name in ("items.csv", "interactions.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    other = synthesize(None, merchants=2, shoppers=60, toys=30, seed=4)
    same = read_marketplace(tmp_path / "one")[0]
    assert same.catalogue.digest != other.catalogue.digest


def test_what_is_written_reads_back_without_defects(tmp_path: Path) -> None:
    made = synthesize(tmp_path, merchants=3, shoppers=200, toys=50)
    back, report = read_marketplace(tmp_path)
    assert report.counts == {}
    assert describe(back) == describe(made)
    pd.testing.assert_frame_equal(back.catalogue.frame, made.catalogue.frame)


def test_sizes(market: Marketplace) -> None:
    facts = describe(market)
    assert (facts["toys"], facts["shoppers"]) == (300, 3_000)
    assert 10 <= facts["purchases_per_shopper_median"] <= 14
    sizes = [shop["shoppers"] for shop in facts["merchants"].values()]
    assert max(sizes) > 1.5 * min(sizes)
    for shop in market.shops.values():
        # A family does not buy the same toy twice.
        assert shop.all.csr().nnz == shop.all.n_purchases
        assert shop.split.test.lengths.mean() > 0.995


def test_titles_differ_and_facts_fit(market: Marketplace) -> None:
    frame = market.catalogue.frame
    assert frame["title"].is_unique
    assert not frame["title"].str.contains("[{}]").any()
    assert frame["price"].between(5, 175).all()
    assert ((frame["age_to"] >= frame["age_from"]) | frame["age_to"].isna()).all()
    assert synthesize(None, merchants=1, shoppers=1, toys=5_000).catalogue.frame["title"].is_unique


def test_taste_can_be_learned_from_purchases_alone() -> None:
    """Neither category nor theme moves anyone here, so the text cannot tell what goes together."""
    assert hits(Habits(taste=0.8, content=0.0)) > 1.5 * hits(Habits(taste=0.0, content=0.0))


def hits(habits: Habits) -> float:
    """Share of test toys among ten by cosine to the toys bought before."""
    made = synthesize(None, merchants=1, shoppers=3_000, toys=200, seed=1, habits=habits)
    (shop,) = made.shops.values()
    bought = shop.split.train.csr().toarray()
    unit = bought / np.maximum(np.linalg.norm(bought, axis=0), 1e-9)
    alike = unit.T @ unit
    np.fill_diagonal(alike, 0)
    scores = np.where(bought > 0, -1.0, bought @ alike)
    own = scores[np.arange(len(scores)), shop.split.test.items]
    return float(np.mean((scores > own[:, None]).sum(axis=1) < 10))


def test_children_grow(market: Marketplace) -> None:
    low = market.catalogue.frame["age_from"].to_numpy()
    first = [low[shop.all.items[shop.all.indptr[:-1]]] for shop in market.shops.values()]
    last = [low[shop.all.last(1).items] for shop in market.shops.values()]
    assert np.concatenate(last).mean() > np.concatenate(first).mean() + 0.3


def test_shops_are_specialised(market: Marketplace) -> None:
    top = market.catalogue.categories(2)
    shares = pd.DataFrame(
        {
            name: pd.Series(top[shop.all.items]).value_counts(normalize=True)
            for name, shop in market.shops.items()
        }
    )
    assert (shares.max(axis=1) / shares.min(axis=1)).max() > 1.4


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(DataError, match="merchants"):
        synthesize(None, merchants=0)
    with pytest.raises(DataError, match="taste and content"):
        Habits(taste=0.9, content=0.2)
    with pytest.raises(DataError, match="persistence"):
        Habits(persistence=1.0)
    with pytest.raises(DataError, match="toys per circle"):
        Habits(toys_per_circle=1)


def test_pictures_are_repeatable_and_safe() -> None:
    hostile = '"><script>alert(1)</script>'
    picture = toy_svg(hostile, hostile)
    assert "script" not in picture
    assert picture == toy_svg(hostile, hostile)
    assert toy_svg("Toys > Plush", "T1") != toy_svg("Toys > Plush", "T2")
    assert toy_picture_uri("Toys > Plush", "T1").startswith("data:image/svg+xml;base64,")
    for kind in KINDS:
        assert _drawing_of(f"Toys > {kind.category}") != "parcel", kind.category
        ElementTree.fromstring(toy_svg(kind.category, "T1"))
    assert _drawing_of("") == "parcel"
    drawn = {_drawing_of(f"Toys > {kind.category}") for kind in KINDS}
    assert drawn | {"parcel", _drawing_of("Toys & Games > Sports")} == set(_DRAWINGS)


def test_the_default_market_is_one_chain_beside_independents() -> None:
    market = synthesize(None, shoppers=3000, seed=1)
    sizes = sorted(shop.all.n_shoppers for shop in market.shops.values())
    assert market.catalogue.n_items == 300
    assert sizes[-1] > sum(sizes[:-1])
    assert sizes[0] < sizes[-2] < sizes[-1] / 2
