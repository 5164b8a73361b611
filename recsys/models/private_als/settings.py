"""What decides a private factorization, and, apart from it, what decides only its speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from recsys.errors import PrivacyError
from recsys.privacy._validate import (
    require_between,
    require_count,
    require_known,
)

__all__ = ["PrivateALSSettings", "SpeedSettings"]

_MOST_FACTORS = 128
_MOST_ROUNDS = 500
_MOST = 1e12
_LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class PrivateALSSettings:
    """Public settings of private alternating least squares; all merchants share them.

    The defaults were chosen on validation purchases of dense synthetic shops (hundreds of toys,
    thousands of shoppers each) at epsilon 1; larger budgets hardly change them.

    Args:
        factors: dimensions d of the embeddings.
        rounds: alternating steps T; each is one release.
        averaged_rounds: how many of the last rounds' embeddings make the final ones.
        clip: Gamma, the largest norm of a shopper's vector.
        weight_bound: B, the sum of a shopper's squared weights over the toys bought.
        count_bound: kc, how many random toys a shopper adds to the noised counts.
        count_exponent: p in [0, 1/2]; a toy with count n weighs n^-p, so rare toys more.
        gram_noise: r0, noise of the Gram matrix relative to that of the linear part.
        outer_products: whether each toy's own outer products A_j are released too. At budgets of
            up to 8 they are mostly noise, and they make a round several times slower.
        outer_noise: r1, noise of the toys' outer products relative to that of the linear part.
        popularity_weight: kappa, stands in for A_j where it is not released: a toy with the share s
            of all counts is solved with kappa s G.
        counts_share, als_share, quality_share: parts of the squared mu for each phase.
        quality_metrics: how many quality figures, each in [0, 1], a shopper adds to.
        alpha: weight of toys not bought.
        shopper_regularization: lambda of the shoppers' least squares.
        item_regularization: lambda of the toys' least squares.
        init_scale: standard deviation of the random embeddings before round 1.
        seed: of those random embeddings; public.

    Raises:
        PrivacyError: a setting outside its range.
    """

    factors: int = 16
    rounds: int = 3
    averaged_rounds: int = 2
    clip: float = 1.0
    weight_bound: float = 1.0
    count_bound: int = 5
    count_exponent: float = 0.0
    gram_noise: float = 4.0
    outer_products: bool = False
    outer_noise: float = 8.0
    popularity_weight: float = 12.0
    counts_share: float = 0.10
    als_share: float = 0.85
    quality_share: float = 0.05
    quality_metrics: int = 2
    alpha: float = 0.2
    shopper_regularization: float = 0.01
    item_regularization: float = 200.0
    init_scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("factors", "rounds", "averaged_rounds", "count_bound", "quality_metrics"):
            require_count(name, getattr(self, name))
        # Memory grows with the square of the first, time with the second: neither may be used to
        # make a run fail for one merchant's number of shoppers and not for another's.
        require_between("factors", self.factors, 1, _MOST_FACTORS)
        require_between("rounds", self.rounds, 1, _MOST_ROUNDS)
        require_between("count_bound", self.count_bound, 1, _MOST_ROUNDS)
        require_count("seed", self.seed, least=0)
        require_between("count_exponent", self.count_exponent, 0.0, 0.5)
        for name in ("counts_share", "als_share"):
            require_between(name, getattr(self, name), _LEAST_SHARE, 1.0 / _LEAST_SHARE)
        if not isinstance(self.outer_products, bool):
            raise PrivacyError(
                f"Expected outer_products to be true or false, found {self.outer_products!r}."
            )
        # Numbers whose squares and quotients stay far from the limits of floating point: beyond
        # them a bound on what one shopper adds may not hold.
        for name in ("quality_share", "alpha", "popularity_weight"):
            require_between(name, getattr(self, name), 0.0, _MOST)
        for name in (
            "clip",
            "weight_bound",
            "gram_noise",
            "outer_noise",
            "shopper_regularization",
            "item_regularization",
            "init_scale",
        ):
            require_between(name, getattr(self, name), 1.0 / _MOST, _MOST)

    @property
    def half_size(self) -> int:
        """Numbers in the upper triangle of one d x d matrix, d (d + 1) / 2."""
        return self.factors * (self.factors + 1) // 2

    @property
    def outer_size(self) -> int:
        """Numbers that a round releases of each toy's outer products: all of a half, or none."""
        return self.half_size if self.outer_products else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PrivateALSSettings:
        """Read the JSON form; keys left out keep their defaults.

        Raises:
            PrivacyError: an unknown key, or a value outside its range.
        """
        require_known(values, (field.name for field in fields(cls)))
        return cls(**values)


@dataclass(frozen=True)
class SpeedSettings:
    """Threads, and sizes of the blocks worked on at once; they change memory and time only.

    Args:
        threads: that solve shoppers.
        shopper_block: shoppers whose outer products are held together.
        block_bytes: memory for the toys' sums held together.
    """

    threads: int = 1
    shopper_block: int = 4096
    block_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        require_count("threads", self.threads)
        require_count("shopper_block", self.shopper_block)
        require_count("block_bytes", self.block_bytes)
