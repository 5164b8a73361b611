"""A world of toys for large sparse markets: product lines that texts tell, ties that none tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys.data.catalogue import Catalogue
from recsys.data.toy_words import BRANDS, KINDS, LINE_FIRST, LINE_SECOND, STYLES, THEMES

__all__ = ["GroupDraw", "ToyWorld", "invent_world"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TOYS_PER_LINE = 7
_LINE_IN_TITLE = 0.95
_BRAND_GIVEN = 0.67
_COMPANIONS = 2


class GroupDraw:
    """Draws members of groups by weight, for many groups at once.

    Args:
        group: int64 [n_toys], the group of each toy, from 0.
        weight: float64 [n_toys], positive.
    """

    def __init__(self, group: Ints, weight: Floats) -> None:
        self._members = np.argsort(group, kind="stable")
        self._line = np.concatenate([[0.0], np.cumsum(weight[self._members])])
        self._starts = np.searchsorted(group[self._members], np.arange(group.max() + 2))

    def __call__(self, groups: Ints, generator: np.random.Generator) -> Ints:
        """One toy for each asked group that has a member, int64 [n]."""
        first, last = self._starts[groups], self._starts[groups + 1]
        low, high = self._line[first], self._line[last]
        spot = low + generator.random(len(groups)) * (high - low)
        place = np.searchsorted(self._line, spot, side="right") - 1
        toys: Ints = self._members[np.clip(place, first, last - 1)]
        return toys


@dataclass(frozen=True, eq=False)
class ToyWorld:
    """A catalogue, and why its toys are bought one after the other.

    Args:
        catalogue: public facts.
        category: int64 [n_toys], top category, from 0; the text tells it.
        in_line, in_kind: draws within product lines and kinds; the text tells them.
        line, kind: int64 [n_toys], their groups.
        companions: int64 [n_kinds, 2], kinds bought after a kind; texts tell kinds, not this.
        in_circle: draws within circles of toys that only purchases show.
        circle: int64 [n_toys], their groups.
        followers: int64 [n_toys, n], toys bought soon after a toy, likeliest first; only
            purchases show them.
        in_category, anything: draws by popularity within a category, and among all toys.
    """

    catalogue: Catalogue
    category: Ints
    line: Ints
    kind: Ints
    circle: Ints
    companions: Ints
    followers: Ints
    in_line: GroupDraw
    in_kind: GroupDraw
    in_circle: GroupDraw
    in_category: GroupDraw
    anything: GroupDraw

    @property
    def category_shares(self) -> Floats:
        """Share of the toys in each category, float64 [n_categories]."""
        shares: Floats = np.bincount(self.category) / len(self.category)
        return shares


def invent_world(
    toys: int,
    generator: np.random.Generator,
    *,
    tail: float,
    toys_per_circle: int,
    followers: int,
    at_home: float,
) -> ToyWorld:
    """Draw a world.

    Args:
        toys: size of the catalogue.
        generator: draws everything.
        tail: sigma of the log-normal popularity of toys.
        toys_per_circle: mean size of the hidden circles.
        followers: hidden followers of each toy.
        at_home: share of circles and followers that keep to one category.
    """
    lines = _Lines(max(toys // _TOYS_PER_LINE, 1), generator)
    line = generator.choice(lines.count, size=toys, p=lines.share)
    line[: lines.count] = np.arange(lines.count)[:toys]
    line.sort()
    kind = lines.kinds[line, generator.integers(0, lines.kinds.shape[1], toys)]
    category = lines.category[line]
    popularity = np.exp(tail * generator.standard_normal(toys))
    circle = _circles(category, toys_per_circle, at_home, generator)
    # Every kind has a toy to draw, lest a companion kind be empty.
    missing = np.setdiff1d(np.arange(len(KINDS)), kind)
    companions = np.stack(
        [generator.choice(np.setdiff1d(np.arange(len(KINDS)), missing), _COMPANIONS) for _ in KINDS]
    )
    in_category, anything = GroupDraw(category, popularity), GroupDraw(line * 0, popularity)
    home = generator.random((toys, followers)) < at_home
    near = in_category(np.repeat(category, followers), generator).reshape(toys, followers)
    far = anything(np.zeros(toys * followers, dtype=np.int64), generator).reshape(near.shape)
    return ToyWorld(
        _catalogue(lines, line, kind, generator),
        category,
        line,
        kind,
        circle,
        companions,
        np.where(home, near, far),
        GroupDraw(line, popularity),
        GroupDraw(kind, popularity),
        GroupDraw(circle, popularity),
        in_category,
        anything,
    )


class _Lines:
    """Product lines: a name, a maker, a theme and a few kinds of one category each."""

    def __init__(self, count: int, generator: np.random.Generator) -> None:
        tops = sorted({kind.category.split(" > ")[0] for kind in KINDS})
        top_of_kind = np.array([tops.index(kind.category.split(" > ")[0]) for kind in KINDS])
        size = np.exp(0.6 * generator.standard_normal(count))
        self.count = count
        self.share = size / size.sum()
        self.category = top_of_kind[generator.integers(0, len(KINDS), count)]
        self.kinds = np.stack(
            [generator.choice(np.flatnonzero(top_of_kind == top), 3) for top in self.category]
        )
        self.theme = generator.integers(0, len(THEMES), count)
        self.brand = generator.integers(0, len(BRANDS), count)
        names = generator.permutation(len(LINE_FIRST) * len(LINE_SECOND))
        self.name = [_line_name(int(number)) for number in np.resize(names, count)]


def _line_name(number: int) -> str:
    first, second = divmod(number, len(LINE_SECOND))
    return f"{LINE_FIRST[first]} {LINE_SECOND[second]}"


def _circles(category: Ints, size: int, at_home: float, generator: np.random.Generator) -> Ints:
    """Hidden circles: some within one category, some across all."""
    n = len(category)
    home = generator.random(n) < at_home
    keys = np.where(home, category, category.max() + 1)
    order = np.lexsort((generator.random(n), keys))
    circle = np.empty(n, dtype=np.int64)
    circle[order] = np.arange(n) // size
    return circle


def _catalogue(lines: _Lines, line: Ints, kind: Ints, generator: np.random.Generator) -> Catalogue:
    rows: list[dict[str, Any]] = []
    titles: dict[str, int] = {}
    told = generator.random((len(line), 2)) < (_LINE_IN_TITLE, _BRAND_GIVEN)
    styles = generator.integers(0, len(STYLES), len(line))
    lots = generator.random((len(line), 2))
    for place, (of_line, of_kind) in enumerate(zip(line.tolist(), kind.tolist(), strict=True)):
        sort = KINDS[of_kind]
        pieces = sort.pieces[int(lots[place, 0] * len(sort.pieces))] if sort.pieces else 0
        title = sort.title.format(
            theme=THEMES[lines.theme[of_line]], style=STYLES[styles[place]], n=pieces
        )
        if told[place, 0]:
            title = f"{lines.name[of_line]} {title}"
        titles[title] = titles.get(title, 0) + 1
        low, high = sort.prices
        rows.append(
            {
                "item_id": f"T{place + 1:06d}",
                "title": title if titles[title] == 1 else f"{title}, no. {titles[title]}",
                "category_path": f"Toys > {sort.category}",
                "brand": BRANDS[lines.brand[of_line]] if told[place, 1] else "",
                "price": float(np.floor(low * (high / low) ** lots[place, 1])) + 0.99,
                "age_from": float(sort.ages[0]),
                "age_to": np.nan if sort.ages[1] is None else float(sort.ages[1]),
                "image_url": "",
            }
        )
    return Catalogue(pd.DataFrame(rows))
