"""Toys that the other merchants' shoppers bought together, as far as privacy lets one tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.base import check_catalogue
from recsys.models.co_purchase.cells import PairCells, symmetric
from recsys.models.co_purchase.posterior import posterior_mean, shrunk_counts
from recsys.models.co_purchase.settings import CoPurchaseSettings
from recsys.models.co_purchase.statistics import exact_pairs
from recsys.models.neighbours import ToySimilarity

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["PairSums", "SharedPairs"]

Floats = npt.NDArray[np.float64]

_SHAPE = 0.3  # of the Gamma prior of a pair's count: most pairs are never bought, a few often
_MOST = 1e12
_FEW = 30.0  # own clipped pairs below which the merchant's own ratios are not believed


@dataclass(frozen=True, eq=False)
class PairSums:
    """Released sums of one merchant or several.

    Args:
        pairs: float64 [n_cells], noised purchases of the listed pairs.
        counts: float64 [n_items], noised buyers of each toy.
        shoppers: noised number of shoppers.
        pair_variance, count_variance: of the noise in each number of `pairs` and `counts`.
    """

    pairs: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]
    shoppers: float
    pair_variance: float
    count_variance: float

    def without(self, own: PairSums) -> PairSums:
        """The sums of all the others, where `own` is a part of these sums to the last bit."""
        return PairSums(
            self.pairs - own.pairs,
            self.counts - own.counts,
            self.shoppers - own.shoppers,
            max(0.0, self.pair_variance - own.pair_variance),
            max(0.0, self.count_variance - own.count_variance),
        )


class SharedPairs(ToySimilarity):
    """Item-item neighbours of everybody else's shoppers, from noised sums over listed pairs.

        c_ij = E[count of pair | noised sum] - E[count of pair]
        S_ij = scale c_ij / sqrt((n_i + shrinkage)(n_j + shrinkage))
        s(u, j) = sum_h decay^age(h) S_hj

    The prior of a pair's count is a Gamma distribution whose mean grows with similarity and
    popularity. The scores are in the unit of `ItemNeighbours` of the merchant's own purchases, so
    that equal weights of both are about neighbours over all merchants' purchases. Where noise
    drowns a sum, the posterior is the prior and c_ij is 0: nothing learned, nothing said.

    Args:
        cells: the public list of pairs.
        sums: released by the others, or by all (`without` takes the merchant's own part out).
        settings: that they were counted with.
        decay: weight of a purchase in the history relative to the next newer one.
        shrinkage: shoppers added to each toy's count.

    Privacy: post-processes releases with the merchant's own exact sums; stays at the merchant.
    """

    name: ClassVar[str] = "shared-pairs"
    unit_of: ClassVar[str | None] = "neighbours"

    def __init__(
        self,
        cells: PairCells,
        sums: PairSums,
        settings: CoPurchaseSettings | None = None,
        decay: float = 0.6,
        shrinkage: float = 20.0,
    ) -> None:
        if sums.pairs.shape != (cells.n_cells,) or sums.counts.shape != (cells.n_items,):
            raise ModelError(
                f"Expected {cells.n_cells} sums of pairs and {cells.n_items} counts, found "
                f"{sums.pairs.shape} and {sums.counts.shape}."
            )
        rest = np.array([sums.shoppers, sums.pair_variance, sums.count_variance])
        if not all(np.isfinite(values).all() for values in (sums.pairs, sums.counts, rest)):
            raise ModelError("Expected finite sums and variances, found others.")
        self.cells = cells
        self.sums = _bounded(sums)
        self.settings_of_sums = settings or CoPurchaseSettings()
        self.decay = decay
        self.shrinkage = shrinkage

    def without(self, own: PairSums) -> SharedPairs:
        """The same model of what the others released; `own` is this merchant's release."""
        return SharedPairs(
            self.cells,
            self.sums.without(own),
            self.settings_of_sums,
            self.decay,
            self.shrinkage,
        )

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Read the released sums in the light of the merchant's own purchases."""
        check_catalogue(interactions.n_items, catalogue)
        check_catalogue(self.cells.n_items, catalogue)
        n_items, listed = self.cells.n_items, self.cells.n_listed
        if listed == 0:
            return self._take(sp.csr_matrix((n_items, n_items), dtype=np.float32))
        clipped = exact_pairs(interactions, self.cells, self.settings_of_sums)
        whole = exact_pairs(interactions, self.cells, self.settings_of_sums, clip=False)
        enough = clipped.sum() >= _FEW
        # How much clipping takes away on average; 1 + 0.3 backward, over two directions.
        scale = 0.65 * (float(np.clip(whole.sum() / clipped.sum(), 1, 10)) if enough else 2.4)
        buyers = self._buyers(interactions)
        expected = self._expected(buyers, float(clipped.sum()) if enough else 0.0, interactions)
        sigma = float(np.sqrt(self.sums.pair_variance))
        counts = np.zeros(self.cells.n_cells)
        believed = posterior_mean(self.sums.pairs[:listed], expected, sigma, _SHAPE)
        counts[:listed] = believed - expected if sigma > 0 else believed
        reach = sp.diags(1.0 / np.sqrt(buyers + self.shrinkage))
        matrix = reach @ symmetric(self.cells, scale * counts) @ reach
        return self._take(matrix.tocsr().astype(np.float32))

    def _buyers(self, interactions: Interactions) -> Floats:
        """Others' buyers of each toy, float64 [n_items]."""
        own = interactions.item_counts().astype(np.float64)
        found, variance = float(self.sums.counts.sum()), own.size * self.sums.count_variance
        total = max(0.0, self._total(found, variance, float(own.sum()), interactions))
        return shrunk_counts(self.sums.counts, self.sums.count_variance, own, total)

    def _expected(self, buyers: Floats, own_pairs: float, interactions: Interactions) -> Floats:
        """Prior mean of every listed pair's sum, float64 [n_listed], above 0."""
        listed = self.cells.n_listed
        first, second = self.cells.toys[:listed].T
        similarity = self.cells.similarity[:listed].astype(np.float64)
        often = np.log(buyers[first] + 1) + np.log(buyers[second] + 1)
        alike = np.log(similarity + 0.02)
        # A Poisson regression of pair counts on the train split of a public benchmark.
        rate = np.exp(0.62 * often + 1.16 * alike + 5.67 * similarity - 0.18 * often * alike)
        found, variance = float(self.sums.pairs[:listed].sum()), listed * self.sums.pair_variance
        total = self._total(found, variance, own_pairs, interactions)
        return np.asarray(max(total, 1e-6 * listed) * rate / rate.sum())

    def _total(
        self, found: float, variance: float, own: float, interactions: Interactions
    ) -> float:
        """A total of the others: what was released, and what the own shop's `own` suggests."""
        guess = own * max(0.0, self.sums.shoppers) / max(1, interactions.n_shoppers)
        spread = (0.3 * guess) ** 2
        if variance <= 0 or spread <= 0:
            return found
        return guess + spread / (spread + variance) * (found - guess)


def _bounded(sums: PairSums) -> PairSums:
    """Sums that nothing computed from them can overflow; they may come from anybody."""
    return PairSums(
        np.clip(sums.pairs, -_MOST, _MOST),
        np.clip(sums.counts, -_MOST, _MOST),
        float(np.clip(sums.shoppers, -_MOST, _MOST)),
        float(np.clip(sums.pair_variance, 0.0, _MOST)),
        float(np.clip(sums.count_variance, 0.0, _MOST)),
    )
