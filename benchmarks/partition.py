"""The same shoppers divided among fewer or more merchants."""

from __future__ import annotations

import numpy as np

from benchmarks.simulated import joined
from recsys.data import Interactions, Marketplace, Shop, Split

__all__ = ["partitioned"]


def partitioned(marketplace: Marketplace, merchants: int, seed: int = 0) -> Marketplace:
    """Merge the marketplace's merchants, or split them at random, until there are `merchants`.

    Fewer: neighbours in the order of names are merged. More: each is split into equal random
    parts. The marketplace's own number changes nothing.

    Args:
        marketplace: the official partition.
        merchants: a divisor or a multiple of the marketplace's number.
        seed: of the random split.

    Raises:
        ValueError: a number that neither divides nor is a multiple of the marketplace's.
    """
    shops = list(marketplace.shops.values())
    if merchants < 1 or (len(shops) % merchants and merchants % len(shops)):
        raise ValueError(
            f"Expected a divisor or a multiple of {len(shops)} merchants, found {merchants}."
        )
    if merchants == len(shops):
        return marketplace
    if merchants < len(shops):
        size = len(shops) // merchants
        groups = [shops[start : start + size] for start in range(0, len(shops), size)]
        parts = [_merged(group) for group in groups]
    else:
        generator = np.random.default_rng(seed)
        pieces = merchants // len(shops)
        parts = [part for shop in shops for part in _pieces(shop, pieces, generator)]
    return Marketplace(marketplace.catalogue, {shop.name: shop for shop in parts})


def _merged(shops: list[Shop]) -> Shop:
    parts = {
        name: _together([getattr(shop.split, name) for shop in shops])
        for name in ("train", "valid", "test")
    }
    return Shop.from_split("+".join(shop.name for shop in shops), Split(**parts))


def _together(parts: list[Interactions]) -> Interactions:
    return joined({str(number): part for number, part in enumerate(parts)})


def _pieces(shop: Shop, pieces: int, generator: np.random.Generator) -> list[Shop]:
    order = generator.permutation(shop.all.n_shoppers)
    return [
        Shop.from_split(f"{shop.name}-{number + 1}", shop.split.rows(np.sort(rows)))
        for number, rows in enumerate(np.array_split(order, pieces))
    ]
