"""What a recipe plugs into the benchmarks: training of all merchants in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from recsys.data import Catalogue, Interactions, Marketplace
from recsys.models import Recommender
from recsys.privacy import SecureNoise

__all__ = [
    "NOISES",
    "Components",
    "Noise",
    "Setting",
    "Simulated",
    "joined",
    "recipe_names",
    "simulated",
    "simulated_noise",
    "simulated_recipe",
    "simulated_source",
]

Noise = Literal["own", "secure_sum"]
NOISES: tuple[Noise, ...] = ("own", "secure_sum")

Components = Callable[[str], dict[str, Recommender]]
"""From a merchant's name to fresh, unfitted shared components, as `Recipe.model` gives them.

The benchmarks call `fit` of each with the merchant's own history, as a merchant does: first with
`train`, to choose weights on `valid`, then with `train` + `valid`, to be judged on `test`. A
component that combines what others released with its merchant's own exact sums does so there.
"""


@dataclass(frozen=True)
class Setting:
    """Under which privacy a model is trained.

    Args:
        epsilon: of one shopper at one merchant, for everything that is released; None releases
            exact numbers.
        delta: of the same.
        noise: 'own' adds each merchant's noise to its release; 'secure_sum' adds up the merchants'
            exact sums as if by secure aggregation, and noises the total once.
        seed: of the simulated noise.
    """

    epsilon: float | None
    delta: float = 1e-5
    noise: Noise = "own"
    seed: int = 0


class Simulated(Protocol):
    """A recipe whose merchants all live in this process; for public or invented data only."""

    name: str
    uses_own: bool
    """Whether a merchant's own release is in what it uses; then its `valid` must not be."""

    def train(
        self, shops: Mapping[str, Interactions], catalogue: Catalogue, setting: Setting
    ) -> Components:
        """Train on these purchases under `setting`."""
        ...


def recipe_names() -> list[str]:
    """Recipes that can be simulated."""
    return list(_RECIPES)


def simulated_recipe(name: str) -> Simulated:
    """The recipe of that name. Raises KeyError for another one."""
    return _RECIPES[name]()


def simulated(recipe: str, marketplace: Marketplace, setting: Setting) -> Components:
    """Train the recipe of that name on what it may see of a marketplace."""
    found = simulated_recipe(recipe)
    splits = {name: shop.split for name, shop in marketplace.shops.items()}
    purchases = {
        name: split.train if found.uses_own else split.before_test()
        for name, split in splits.items()
    }
    return found.train(purchases, marketplace.catalogue, setting)


def simulated_noise(setting: Setting, *labels: str) -> SecureNoise:
    """Noise that the same setting and labels repeat, so that a figure can be measured again."""
    return SecureNoise(simulated_source(setting, *labels))


def simulated_source(setting: Setting, *labels: str) -> Callable[[int], bytes]:
    """Bytes for `SecureNoise` and other random draws, fixed by setting and labels."""
    text = "|".join([str(setting.seed), str(setting.epsilon), setting.noise, *labels])
    digest = hashlib.sha256(text.encode()).digest()
    generator = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    return generator.bytes


def joined(parts: Mapping[str, Interactions]) -> Interactions:
    """All shoppers of all merchants in one table, renamed, so that no two share an id."""
    several = list(parts.values())
    lengths = np.concatenate([part.lengths for part in several])
    return Interactions(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.concatenate([part.items for part in several]),
        shopper_ids=np.arange(lengths.size).astype(str),
        n_items=several[0].n_items,
    )


def _private_als() -> Simulated:
    from benchmarks.private_als import SimulatedPrivateALS

    return SimulatedPrivateALS()


def _neural() -> Simulated:
    from benchmarks.neural import SimulatedNeural

    return SimulatedNeural()


def _co_purchase() -> Simulated:
    from benchmarks.co_purchase import SimulatedCoPurchase

    return SimulatedCoPurchase()


_RECIPES: dict[str, Callable[[], Simulated]] = {
    "private-als": _private_als,
    "co-purchase": _co_purchase,
    "neural": _neural,
}
