"""Invents large sparse markets: many toys with few buyers, short ordered histories, eight shops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.data.marketplace import Marketplace, Shop, write_marketplace
from recsys.data.splits import leave_one_out
from recsys.data.toy_words import SHOP_NAMES
from recsys.data.toy_world import ToyWorld, invent_world
from recsys.errors import DataError

__all__ = ["SparseHabits", "sparse_market"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CHUNK = 5_000
_MOST_PURCHASES = 500
_TRIES = 4
# As unequal as the eight parts of the real toys, the general shop first.
_SHOP_SIZES = np.array([0.175, 0.177, 0.14, 0.128, 0.127, 0.091, 0.091, 0.071])


@dataclass(frozen=True)
class SparseHabits:
    """What drives purchases; the defaults give about the figures of the real toys on `valid`.

    A purchase refers to an earlier one, most often the newest, and is then

    Args:
        line: probability that it is of the same product line, which the text tells.
        kind: that it is of the same kind, which the text tells.
        companion: that it is of a kind that goes with the earlier one's.
        follower: that it is one of the few hidden followers of the earlier toy.
        circle: that it is of the same hidden circle.
        favourite: that it is any toy of the shopper's favourite category; the rest is anything.
        recency: probability that a purchase refers to the newest one, else to the one before with
            the same probability, and so on.
        tail: sigma of the log-normal popularity of toys.
        toys_per_circle: mean size of the hidden circles.
        followers: hidden followers of each toy.
        at_home: share of circles and followers that keep to one category.
        drawn: share of shoppers whose shop is the one of their favourite category.

    Raises:
        DataError: probabilities below 0 or above 1 together.
    """

    line: float = 0.36
    kind: float = 0.06
    companion: float = 0.1
    follower: float = 0.05
    circle: float = 0.07
    favourite: float = 0.14
    recency: float = 0.6
    tail: float = 1.05
    toys_per_circle: int = 12
    followers: int = 5
    at_home: float = 0.7
    drawn: float = 0.5

    def __post_init__(self) -> None:
        if min(self.motives) < 0 or sum(self.motives) > 1 or not 0 < self.recency <= 1:
            raise DataError(
                "Expected probabilities of 0 or more that add up to at most 1, and a recency "
                f"above 0 and up to 1; found {self.motives} and {self.recency}."
            )

    @property
    def motives(self) -> tuple[float, ...]:
        """Probabilities in the order of the arguments."""
        return (
            self.line,
            self.kind,
            self.companion,
            self.follower,
            self.circle,
            self.favourite,
        )


def sparse_market(
    shoppers: int,
    *,
    toys: int = 12_000,
    seed: int = 0,
    habits: SparseHabits | None = None,
    out: Path | None = None,
) -> Marketplace:
    """Invent a marketplace of eight shops in a world that does not depend on its size.

    Each shopper buys 5 or more toys (median 6, up to some hundreds), each a different one. The
    same seed gives the same toys, ties and shops for every number of shoppers, and the first
    shoppers of a larger market are those of a smaller one.

    Args:
        shoppers: number of shoppers in all shops together.
        toys: size of the catalogue, 1,000 or more.
        seed: of the numpy Generator.
        habits: what drives the purchases.
        out: folder to write it to, or None.

    Raises:
        DataError: sizes too small to make sense.
    """
    if shoppers < len(_SHOP_SIZES) or toys < 2 * _MOST_PURCHASES:
        raise DataError(
            f"Expected {len(_SHOP_SIZES)} or more shoppers and {2 * _MOST_PURCHASES} or more toys; "
            f"found {shoppers} and {toys}. `synthesize` makes small markets."
        )
    habits = habits or SparseHabits()
    world_seed, shop_seed, shoppers_seed = np.random.SeedSequence(seed).spawn(3)
    world = invent_world(
        toys,
        np.random.default_rng(world_seed),
        tail=habits.tail,
        toys_per_circle=habits.toys_per_circle,
        followers=habits.followers,
        at_home=habits.at_home,
    )
    shop_shares = _shop_shares(world, habits, np.random.default_rng(shop_seed))
    lengths, items, shop_of = [], [], []
    chunks = -(-shoppers // _CHUNK)
    for chunk_seed in shoppers_seed.spawn(chunks):
        generator = np.random.default_rng(chunk_seed)
        favourite = generator.choice(len(shop_shares), size=_CHUNK, p=world.category_shares)
        lot = generator.random(_CHUNK)[:, None]
        shop_of.append((shop_shares[favourite].cumsum(axis=1)[:, :-1] < lot).sum(axis=1))
        length = _lengths(_CHUNK, generator)
        lengths.append(length)
        items.append(_Walk(world, habits, generator).buy(length, favourite))
    everyone = Interactions(
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]),
        np.concatenate(items),
        np.array([f"s{row:07d}" for row in range(chunks * _CHUNK)], dtype=object),
        toys,
    )
    market = _assemble(everyone, np.concatenate(shop_of)[:shoppers], world)
    if out is not None:
        write_marketplace(Path(out), market)
    return market


def _lengths(n: int, generator: np.random.Generator) -> Ints:
    """Purchases per shopper, int64 [n]: 5 and a log-normal rest, as of the real toys."""
    more = np.floor(1.6 * np.exp(1.35 * generator.standard_normal(n))).astype(np.int64)
    lengths: Ints = np.minimum(5 + more, _MOST_PURCHASES)
    return lengths


def _shop_shares(world: ToyWorld, habits: SparseHabits, generator: np.random.Generator) -> Floats:
    """Probability of each shop given the favourite category, float64 [n_categories, 8]."""
    categories = world.category_shares
    shops = len(_SHOP_SIZES)
    # Categories go, largest first, to the shop that still lacks most; the first shop is general.
    lacking = _SHOP_SIZES.copy()
    lacking[0] = -1.0
    special = np.empty(len(categories), dtype=np.int64)
    by_size = np.argsort(-categories + 0.02 * generator.random(len(categories)))
    for category in by_size:
        special[category] = lacking.argmax()
        lacking[special[category]] -= categories[category]
    drawn = np.bincount(special, weights=categories, minlength=shops) * habits.drawn
    others = np.maximum(_SHOP_SIZES - drawn, 0.1 * _SHOP_SIZES)
    shares = np.tile(others / others.sum() * (1 - habits.drawn), (len(categories), 1))
    shares[np.arange(len(categories)), special] += habits.drawn
    return shares


class _Walk:
    """From purchase to purchase, all shoppers of a chunk at once."""

    def __init__(
        self, world: ToyWorld, habits: SparseHabits, generator: np.random.Generator
    ) -> None:
        self._world = world
        self._recency = habits.recency
        self._generator = generator
        self._bounds = np.cumsum(habits.motives)
        shares = 0.6 ** np.arange(habits.followers)
        self._follower_bounds = np.cumsum(shares / shares.sum())

    def buy(self, lengths: Ints, favourite: Ints) -> npt.NDArray[np.int32]:
        """All toys, shopper by shopper, each in order of time: int32 [sum of lengths]."""
        longest_first = np.argsort(-lengths, kind="stable")
        favourite = favourite[longest_first]
        steps = int(lengths.max())
        # Column t holds the t-th purchase of the shoppers with more than t, who come first.
        active = len(lengths) - np.searchsorted(np.sort(lengths), np.arange(steps), side="right")
        starts = np.concatenate([[0], np.cumsum(active)])
        bought = np.empty(starts[-1], dtype=np.int64)
        for step, n in enumerate(active):
            bought[starts[step] : starts[step + 1]] = self._step(
                bought, starts[:step], np.arange(n), favourite
            )
        items = np.empty(len(bought), dtype=np.int32)
        first = (np.cumsum(lengths) - lengths)[longest_first]
        for step, n in enumerate(active):
            items[first[:n] + step] = bought[starts[step] : starts[step + 1]]
        return items

    def _step(self, bought: Ints, starts: Ints, rows: Ints, favourite: Ints) -> Ints:
        toys = np.empty(len(rows), dtype=np.int64)
        left = rows
        tries = 0
        while len(left):
            # Who has bought all that her motives offer takes anything.
            motives = len(starts) > 0 and tries < _TRIES
            drawn = (
                self._draw(bought, starts, left, favourite[left])
                if motives
                else self._fresh(favourite[left], anything=tries >= _TRIES)
            )
            toys[left] = drawn
            again = (bought[starts[:, None] + left] == drawn).any(axis=0)
            left = left[again]
            tries += 1
        return toys

    def _draw(self, bought: Ints, starts: Ints, rows: Ints, favourite: Ints) -> Ints:
        world, generator = self._world, self._generator
        age = generator.geometric(self._recency, len(rows)) - 1
        earlier = bought[starts[len(starts) - 1 - age % len(starts)] + rows]
        motive = np.searchsorted(self._bounds, generator.random(len(rows)), side="right")
        toys = world.anything(np.zeros(len(rows), dtype=np.int64), generator)
        for number, of_group in enumerate(self._motives()):
            mine = np.flatnonzero(motive == number)
            toys[mine] = of_group(earlier[mine], favourite[mine])
        return toys

    def _motives(self) -> Iterator[Callable[[Ints, Ints], Ints]]:
        world, generator = self._world, self._generator
        yield lambda toys, _: world.in_line(world.line[toys], generator)
        yield lambda toys, _: world.in_kind(world.kind[toys], generator)
        yield lambda toys, _: world.in_kind(self._companions(toys), generator)
        yield lambda toys, _: self._followers(toys)
        yield lambda toys, _: world.in_circle(world.circle[toys], generator)
        yield lambda _, favourite: world.in_category(favourite, generator)

    def _companions(self, toys: Ints) -> Ints:
        of_kind = self._world.companions[self._world.kind[toys]]
        pick = self._generator.integers(0, of_kind.shape[1], len(toys))
        chosen: Ints = of_kind[np.arange(len(toys)), pick]
        return chosen

    def _followers(self, toys: Ints) -> Ints:
        lot = self._generator.random(len(toys))
        pick = np.searchsorted(self._follower_bounds[:-1], lot, side="right")
        chosen: Ints = self._world.followers[toys, pick]
        return chosen

    def _fresh(self, favourite: Ints, anything: bool) -> Ints:
        if anything:
            return self._world.anything(np.zeros(len(favourite), dtype=np.int64), self._generator)
        return self._world.in_category(favourite, self._generator)


def _assemble(everyone: Interactions, shop_of: Ints, world: ToyWorld) -> Marketplace:
    shops = {}
    for shop, name in enumerate(SHOP_NAMES[: len(_SHOP_SIZES)]):
        mine = everyone.rows(np.flatnonzero(shop_of == shop))
        shops[name] = Shop(name, leave_one_out(mine), mine)
    return Marketplace(world.catalogue, dict(sorted(shops.items())))
