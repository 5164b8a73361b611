"""Gives shoppers to shops, where the data has no shops of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["ShopDraw"]

Ints = npt.NDArray[np.int64]


class ShopDraw:
    """Draws shops of unequal size and with specialities; calling it gives each shopper a shop.

    Args:
        merchants: number of shops; the first is a general one and the largest by nature.
        n_categories: number of categories that shops may specialise in.
        generator: draws sizes and specialities.
    """

    def __init__(self, merchants: int, n_categories: int, generator: np.random.Generator) -> None:
        # One chain beside independents of unequal size, as toy markets are.
        self._log_size = np.append(1.9, np.linspace(0.0, -1.5, merchants - 1))
        self._log_size += generator.normal(0, 0.15, merchants)
        # The first and largest shop sells everything alike; each other has three specialities.
        self.special = np.zeros((merchants, n_categories))
        for shop in range(1, merchants):
            chosen = generator.choice(n_categories, size=min(3, n_categories), replace=False)
            self.special[shop, chosen] = 1.0

    def __call__(
        self, category: Ints, specialisation: float, generator: np.random.Generator
    ) -> Ints:
        """The shop of each shopper, int64 [n], from the favourite `category`, int64 [n]."""
        score = self._log_size[:, None] + specialisation * self.special
        share = np.cumsum(np.exp(score), axis=0)
        share /= share[-1]
        lot = generator.random(len(category))
        shop: Ints = (share[:, category] < lot).sum(axis=0)
        return shop
