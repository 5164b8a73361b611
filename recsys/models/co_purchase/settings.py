"""Public settings of shared co-purchases; every merchant uses the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from recsys.privacy._validate import (
    require_between,
    require_count,
    require_known,
)

__all__ = ["CoPurchaseSettings"]


@dataclass(frozen=True)
class CoPurchaseSettings:
    """What is counted, and how the budget is split.

    Args:
        pairs_per_toy: pairs on the public list for each toy of the catalogue.
        window: purchases between which a pair is counted; 1 is one directly after the other.
        gap_decay: weight of a pair relative to one that lies one purchase closer, in (0, 1].
        count_bound: how many random toys a shopper adds to the noised counts of toys.
        counts_share, pairs_share: parts of the squared mu.

    Raises:
        PrivacyError: a setting outside its range.
    """

    pairs_per_toy: int = 14
    window: int = 5
    gap_decay: float = 0.85
    count_bound: int = 5
    counts_share: float = 0.1
    pairs_share: float = 0.9

    def __post_init__(self) -> None:
        for name, most in (("pairs_per_toy", 1000), ("window", 50), ("count_bound", 500)):
            require_count(name, getattr(self, name))
            require_between(name, getattr(self, name), 1, most)
        require_between("gap_decay", self.gap_decay, 0.01, 1.0)
        for name in ("counts_share", "pairs_share"):
            require_between(name, getattr(self, name), 1e-6, 1e6)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CoPurchaseSettings:
        """Read the JSON form; keys left out keep their defaults.

        Raises:
            PrivacyError: an unknown key, or a value outside its range.
        """
        require_known(values, (field.name for field in fields(cls)))
        return cls(**values)
