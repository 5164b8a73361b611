"""Turns the Amazon Reviews data sets of 2018 and 2023 into a marketplace folder.

Sources: J. Ni, J. Li, J. McAuley, EMNLP 2019 (reviews of 2018); Y. Hou et al., 2024,
arXiv:2403.03952 (reviews of 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.amazon_meta import read_amazon_meta
from recsys.data.amazon_reviews import Reviews, read_amazon_reviews
from recsys.data.catalogue import Catalogue
from recsys.data.interactions import Interactions
from recsys.data.marketplace import Marketplace, Shop, write_marketplace
from recsys.data.report import ReadReport
from recsys.data.shop_draw import ShopDraw
from recsys.data.splits import leave_one_out
from recsys.errors import DataError

__all__ = ["convert_amazon"]

Ints = npt.NDArray[np.int64]


def convert_amazon(
    reviews: Path,
    meta: Path | None,
    out: Path,
    merchants: int = 8,
    seed: int = 0,
    core: int = 5,
    specialisation: float = 1.5,
) -> ReadReport:
    """Convert reviews, taken as purchases, to a marketplace folder with drawn merchants.

    A shopper's first review of a toy counts. Merchants do not exist in the data: each shopper is
    given to one, with odds that rise with the merchant's size and with its speciality matching
    the shopper's favourite category (told without the two newest purchases). Shopper ids are
    replaced by numbers.

    Args:
        reviews: JSONL or JSONL.gz of 2018 (asin, seconds) or 2023 (parent_asin, milliseconds), or
            CSV of ratings (item before user where there are no column names).
        meta: JSONL or JSONL.gz of item metadata, or None for bare ids.
        out: folder to write.
        merchants: number of merchants.
        seed: of the draw of merchants.
        core: keep shoppers and toys with that many purchases, repeatedly (k-core); 1 keeps all.
        specialisation: how strongly a speciality draws shoppers, 0 not at all.

    Returns:
        The report on both files; rows kept are the purchases written.

    Raises:
        DataError: a file cannot be used or no purchase survives.
    """
    if merchants < 1 or core < 1:
        raise DataError(f"Expected 1 or more merchants and core; found {merchants} and {core}.")
    read, report = read_amazon_reviews(Path(reviews))
    read = _first_reviews(read, report)
    kept = k_core(read.shoppers, read.items, core)
    if not kept.any():
        raise DataError(
            f"Expected shoppers and toys with {core} or more purchases in {Path(reviews).name}; "
            f"found none.\n{report.summary()}\nAsk for a smaller core."
        )
    if not kept.all():
        what = f"purchase of a shopper or toy with fewer than {core}"
        report.counts[what] = int((~kept).sum())
    shoppers, items, times = (a[kept] for a in (read.shoppers, read.items, read.times))
    present, items = np.unique(items, return_inverse=True)
    names = read.item_names[present]
    facts, meta_report = read_amazon_meta(Path(meta), set(names)) if meta else ({}, ReadReport())
    catalogue = _catalogue(names, facts)
    everyone = Interactions.from_codes(
        np.unique(shoppers, return_inverse=True)[1],
        np.array([f"{row + 1:08d}" for row in range(len(np.unique(shoppers)))], dtype=object),
        items,
        times,
        catalogue.n_items,
    )
    generator = np.random.default_rng(seed)
    write_marketplace(
        Path(out), _draw_merchants(everyone, catalogue, merchants, specialisation, generator)
    )
    report.rows_kept = len(items)
    return report.merged(meta_report)


def k_core(shoppers: Ints, items: Ints, k: int) -> npt.NDArray[np.bool_]:
    """Which purchases stay when shoppers and toys with fewer than `k` go, until none does.

    Args:
        shoppers: int64 [n], codes from 0.
        items: int64 [n], codes from 0.
        k: least number of purchases.
    """
    kept = np.ones(len(items), dtype=bool)
    while True:
        few = np.bincount(shoppers[kept], minlength=shoppers.max(initial=0) + 1) < k
        rare = np.bincount(items[kept], minlength=items.max(initial=0) + 1) < k
        left = kept & ~few[shoppers] & ~rare[items]
        if left.sum() == kept.sum():
            return left
        kept = left


def _first_reviews(read: Reviews, report: ReadReport) -> Reviews:
    by_pair = np.lexsort((read.times, read.items, read.shoppers))
    shoppers, items = read.shoppers[by_pair], read.items[by_pair]
    first = (np.diff(shoppers, prepend=-1) != 0) | (np.diff(items, prepend=-1) != 0)
    again = int((~first).sum())
    if again:
        report.counts["toy reviewed again by the same shopper (the first one stays)"] = again
    chosen = np.sort(by_pair[first])
    return Reviews(read.shoppers[chosen], read.items[chosen], read.times[chosen], read.item_names)


def _catalogue(names: npt.NDArray[Any], facts: Mapping[str, Mapping[str, Any]]) -> Catalogue:
    rows = [{"title": name, **facts.get(name, {}), "item_id": name} for name in names]
    return Catalogue(pd.DataFrame(rows))


def _draw_merchants(
    everyone: Interactions,
    catalogue: Catalogue,
    merchants: int,
    specialisation: float,
    generator: np.random.Generator,
) -> Marketplace:
    categories, category_of = np.unique(catalogue.categories(2), return_inverse=True)
    split = leave_one_out(everyone)
    pairs = split.train.row_index * len(categories) + category_of[split.train.items]
    size = everyone.n_shoppers * len(categories)
    favourite = np.bincount(pairs, minlength=size).reshape(-1, len(categories)).argmax(axis=1)
    draw = ShopDraw(merchants, len(categories), generator)
    shop_of = draw(favourite, specialisation, generator)
    shops = {}
    for shop in range(merchants):
        rows = np.flatnonzero(shop_of == shop)
        if len(rows):
            name = f"m{shop + 1}"
            shops[name] = Shop.from_split(name, split.rows(rows))
    return Marketplace(catalogue, shops)
