"""Why the invented families buy what they buy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data.toy_catalogue import InventedToys
from recsys.data.toy_words import THEMES
from recsys.errors import DataError

__all__ = ["AGES", "SEASONS", "Habits", "Motives"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AGES = 14
SEASONS = 4


@dataclass(frozen=True)
class Habits:
    """What drives the purchases of the invented families.

    Args:
        purchases: median purchases per shopper.
        spread: sigma of the log-normal number of purchases.
        taste: share of purchases that follow hidden taste circles: groups of toys across
            categories, themes and makers that nothing in the catalogue's text tells, so that only
            purchases can teach them.
        content: share that follows a category or a theme that the text tells; the rest
            (`1 - taste - content`) follows popularity.
        toys_per_circle: size of a taste circle; smaller circles are sharper and harder to learn.
        circles: taste circles of one shopper.
        persistence: probability that a purchase follows the same motive as the one before.
        tail: sigma of the log-normal popularity of toys; 0 makes all alike.
        specialisation: how strongly a family's favourite category draws it to a shop.
    """

    purchases: float = 14.0
    spread: float = 0.65
    taste: float = 0.7
    content: float = 0.15
    toys_per_circle: int = 25
    circles: int = 2
    persistence: float = 0.6
    tail: float = 0.9
    specialisation: float = 1.5

    def __post_init__(self) -> None:
        if self.taste < 0 or self.content < 0 or self.taste + self.content > 1:
            raise DataError(
                "Expected shares of 0 or more for taste and content that add up to at most 1; "
                f"found {self.taste} and {self.content}."
            )
        if self.purchases < 3 or not 0 <= self.persistence < 1:
            raise DataError(
                "Expected 3 or more purchases and a persistence from 0 to below 1; "
                f"found {self.purchases} and {self.persistence}."
            )
        if self.toys_per_circle < 2 or self.circles < 1:
            raise DataError(
                "Expected 2 or more toys per circle and 1 or more circles per shopper; "
                f"found {self.toys_per_circle} and {self.circles}."
            )


class Motives:
    """Why a toy is bought: a category, a theme, a hidden taste circle, or its popularity.

    `weights` is float64 [n_motives, n_toys]; `fit` is float64 [ages x seasons, n_toys].
    """

    def __init__(
        self, invented: InventedToys, habits: Habits, generator: np.random.Generator
    ) -> None:
        n = invented.catalogue.n_items
        popularity = np.exp(habits.tail * generator.standard_normal(n))
        self.n_categories = int(invented.category.max()) + 1
        self.n_circles = max(n // habits.toys_per_circle, 1)
        categories = np.equal.outer(np.arange(self.n_categories), invented.category)
        themes = np.equal.outer(np.arange(len(THEMES)), invented.theme)
        circle = np.resize(np.arange(self.n_circles), n)
        generator.shuffle(circle)
        circles = np.equal.outer(np.arange(self.n_circles), circle)
        everything = np.ones((1, n), dtype=bool)
        member = np.concatenate([categories, themes, circles, everything]).astype(np.float64)
        self.weights = member * popularity
        self.n_themes = len(THEMES)
        self.first_circle = self.n_categories + self.n_themes
        self.fit = _age_fit(invented)[:, None, :] * _season_fit(invented)[None, :, :]
        self.fit = self.fit.reshape(AGES * SEASONS, n)

    def draw(
        self, motive: Ints, age: Ints, season: Ints, generator: np.random.Generator
    ) -> npt.NDArray[np.int32]:
        """One toy for each purchase, int32 [n], given its motive, the child's age, the season."""
        toys = np.empty(len(motive), dtype=np.int32)
        cell = age * SEASONS + season
        by_motive = np.argsort(motive, kind="stable")
        bounds = np.searchsorted(motive[by_motive], np.arange(len(self.weights) + 1))
        for m, weights in enumerate(self.weights):
            here = by_motive[bounds[m] : bounds[m + 1]]
            if not len(here):
                continue
            members = np.flatnonzero(weights)
            if not len(members):
                members, weights = np.arange(len(weights)), self.weights[-1]
            share = np.cumsum(self.fit[:, members] * weights[members], axis=1)
            share /= share[:, -1:]
            # One sorted line for all cells: cell c lies between c and c + 1.
            line = (share + np.arange(len(share))[:, None]).ravel()
            place = np.searchsorted(line, cell[here] + generator.random(len(here)), side="right")
            toys[here] = members[np.minimum(place - cell[here] * len(members), len(members) - 1)]
        return toys


def _age_fit(invented: InventedToys) -> Floats:
    """How well each toy fits a child of each age: 1 within its range, fading outside it."""
    frame = invented.catalogue.frame
    low, high = frame["age_from"].to_numpy(), frame["age_to"].to_numpy()
    age = np.arange(AGES)[:, None] + 0.5
    below = np.clip(np.floor(low) - age, 0, None)
    above = np.clip(age - np.nan_to_num(high + 1, nan=np.inf), 0, None)
    fit: Floats = np.exp(-1.6 * below - 1.1 * above) + 1e-4
    return fit


def _season_fit(invented: InventedToys) -> Floats:
    summer = np.array([0.6, 1.6, 1.8, 0.5])[:, None]
    fit: Floats = np.where(
        invented.season == 1, summer, np.where(invented.season == -1, 1 / summer, 1.0)
    )
    return fit
