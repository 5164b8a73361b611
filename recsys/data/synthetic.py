"""Invents a marketplace: families with growing children, tastes and seasons, and shops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.data.marketplace import Marketplace, Shop, write_marketplace
from recsys.data.shop_draw import ShopDraw
from recsys.data.splits import leave_one_out
from recsys.data.toy_catalogue import InventedToys, invent_toys
from recsys.data.toy_motives import AGES, SEASONS, Habits, Motives
from recsys.data.toy_words import SHOP_NAMES
from recsys.errors import DataError

__all__ = ["synthesize"]

Ints = npt.NDArray[np.int64]

_CHUNK = 50_000
_DAYS = 3 * 365
_OVERSAMPLE = 1.5


def synthesize(
    out: Path | None,
    *,
    merchants: int = 6,
    shoppers: int = 20_000,
    toys: int = 300,
    seed: int = 0,
    habits: Habits | None = None,
) -> Marketplace:
    """Invent a marketplace; the same arguments give the same marketplace.

    Args:
        out: folder to write it to, or None.
        merchants: number of shops, of unequal size and partly specialised.
        shoppers: number of shoppers in all shops together.
        toys: size of the catalogue.
        seed: of the numpy Generator.
        habits: what drives the purchases.

    Raises:
        DataError: sizes too small to make sense.
    """
    if merchants < 1 or toys < 10 or shoppers < merchants:
        raise DataError(
            "Expected 1 or more merchants, 10 or more toys and a shopper for each merchant; "
            f"found {merchants}, {toys} and {shoppers}."
        )
    habits = habits or Habits()
    catalogue_seed, motives_seed, shops_seed, families_seed = np.random.SeedSequence(seed).spawn(4)
    invented = invent_toys(toys, np.random.default_rng(catalogue_seed))
    motives = Motives(invented, habits, np.random.default_rng(motives_seed))
    draw_shop = ShopDraw(merchants, motives.n_categories, np.random.default_rng(shops_seed))
    counts, items, shop_of = [], [], []
    starts = range(0, shoppers, _CHUNK)
    for start, chunk_seed in zip(starts, families_seed.spawn(len(starts)), strict=True):
        generator = np.random.default_rng(chunk_seed)
        n = min(_CHUNK, shoppers - start)
        family = _Families(n, motives, habits, generator)
        lengths, bought = _buy(family, motives, habits, generator)
        counts.append(lengths)
        items.append(bought)
        shop_of.append(draw_shop(family.category, habits.specialisation, generator))
    market = _assemble(
        invented, np.concatenate(counts), np.concatenate(items), np.concatenate(shop_of), merchants
    )
    if out is not None:
        write_marketplace(Path(out), market)
    return market


class _Families:
    """Children with birthdays, favourite categories, themes and taste circles of `n` shoppers."""

    def __init__(
        self, n: int, motives: Motives, habits: Habits, generator: np.random.Generator
    ) -> None:
        self.children = generator.choice([1, 2, 3], size=n, p=[0.5, 0.38, 0.12])
        # Age in days on the first day that the shops are observed; below 0 before birth.
        first = generator.integers(-365, 10 * 365, n)
        gaps = generator.integers(550, 4 * 365, (n, 2))
        self.age_at_start = np.stack([first, first - gaps[:, 0], first - gaps.sum(axis=1)], axis=1)
        self.category = generator.integers(0, motives.n_categories, n)
        self.theme = generator.integers(0, motives.n_themes, n)
        self.circles = generator.integers(0, motives.n_circles, (n, habits.circles))


def _buy(
    family: _Families, motives: Motives, habits: Habits, generator: np.random.Generator
) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Purchases per shopper, int64 [n], and all their toys in order of time, int32."""
    n = len(family.category)
    wanted = habits.purchases * np.exp(habits.spread * generator.standard_normal(n))
    wanted = np.clip(np.round(wanted), 3, 20 * habits.purchases).astype(np.int64)
    wanted = np.minimum(wanted, motives.fit.shape[1] // 2)
    # More draws than purchases, because a toy that the family has is not bought again.
    draws = np.ceil(wanted * _OVERSAMPLE).astype(np.int64) + 6
    row = np.repeat(np.arange(n), draws)
    day, age = _occasions(row, family, generator)
    by_time = np.lexsort((day, row))
    day, age = day[by_time], age[by_time]
    motive = _motive_sequence(row, family, motives, habits, generator)
    season = (day % 365) * SEASONS // 365
    toys = motives.draw(motive, age, season, generator)
    first = np.sort(_first_of_each(row * np.int64(motives.fit.shape[1]) + toys))
    row, toys = row[first], toys[first]
    # A random choice of the surplus goes, lest every history end early.
    lottery = np.lexsort((generator.random(len(row)), row))
    starts = np.searchsorted(row, np.arange(n))
    rank = np.empty(len(row), dtype=np.int64)
    rank[lottery] = np.arange(len(row)) - starts[row]
    kept = rank < wanted[row]
    return np.bincount(row[kept], minlength=n), toys[kept]


def _occasions(row: Ints, family: _Families, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """The day (from 0) and the child's age in years of each purchase."""
    n = len(row)
    weight = np.ones(365)
    weight[-45:-7] = 4.0
    weight[85:110] = 1.6
    weight = np.tile(weight, _DAYS // 365)
    day = generator.choice(_DAYS, size=n, p=weight / weight.sum())
    child = (generator.random(n) * family.children[row]).astype(np.int64)
    age_at_start = family.age_at_start[row, child]
    birthday = generator.random(n) < 0.3
    # Presents are bought in the fortnight before the birthday.
    ahead = generator.integers(1, 15, n)
    year = generator.integers(0, _DAYS // 365, n) * 365
    day = np.where(birthday, (year - age_at_start - ahead) % _DAYS, day)
    age = (day + age_at_start + 14) // 365
    guest = generator.random(n) < 0.1
    age = np.where(guest, age + generator.integers(-3, 4, n), age)
    return day, np.clip(age, 0, AGES - 1)


def _motive_sequence(
    row: Ints,
    family: _Families,
    motives: Motives,
    habits: Habits,
    generator: np.random.Generator,
) -> Ints:
    n = len(row)
    lot = generator.random(n)
    circle = motives.first_circle + family.circles[row, generator.integers(0, habits.circles, n)]
    text = np.where(
        generator.random(n) < 0.6, family.category[row], motives.n_categories + family.theme[row]
    )
    motive = np.where(lot < habits.taste, circle, len(motives.weights) - 1)
    motive = np.where((lot >= habits.taste) & (lot < habits.taste + habits.content), text, motive)
    fresh = generator.random(n) >= habits.persistence
    fresh[np.flatnonzero(np.diff(row, prepend=-1))] = True
    source = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    sequence: Ints = motive[source]
    return sequence


def _first_of_each(key: Ints) -> Ints:
    by_key = np.argsort(key, kind="stable")
    first: Ints = by_key[np.diff(key[by_key], prepend=-1) != 0]
    return first


def _assemble(
    invented: InventedToys,
    counts: Ints,
    items: npt.NDArray[np.int32],
    shop_of: Ints,
    merchants: int,
) -> Marketplace:
    ids = np.array([f"s{row:07d}" for row in range(len(counts))], dtype=object)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    everyone = Interactions(indptr, items, ids, invented.catalogue.n_items)
    shops = {}
    for shop in range(merchants):
        name = SHOP_NAMES[shop] if shop < len(SHOP_NAMES) else f"toy-shop-{shop + 1}"
        mine = everyone.rows(np.flatnonzero(shop_of == shop))
        shops[name] = Shop(name, leave_one_out(mine), mine)
    return Marketplace(invented.catalogue, dict(sorted(shops.items())))
