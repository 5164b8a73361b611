"""Merges by name, as a study's settings and the command line know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.federation.merges import (
    capped_fedavg,
    fedavg,
    precision_weighted,
    shrink_rows,
    summed,
    support_weighted,
)
from recsys.federation.server import (
    ServerAdam,
    ServerMomentum,
    ServerOptimizer,
    ServerReplace,
    ServerYogi,
)
from recsys.federation.update import Update

__all__ = ["DEFAULT_MERGE", "Merge", "merge_named", "merge_names"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Round:
    """What an average may look at."""

    updates: Sequence[Update]
    array: str
    support: str | None
    support_sigma: float

    @property
    def supported(self) -> str:
        if self.support is None:
            raise ModelError(
                f"Expected merchants' counts for the rows of {self.array!r}, found none; choose a "
                "merge that needs none, such as 'fedavg'."
            )
        return self.support


@dataclass(frozen=True)
class Merge:
    """A named way from many merchants' arrays to the study's next one.

        merged_t = average(updates),   x_t = server step from x_(t-1) towards merged_t

    Args:
        name: as in study.toml.
        about: one sentence for people who choose.
        average: how merchants are weighed.
        server: how the server follows their average.
        sums: the arrays are statistics to be added up, not models to be averaged.
    """

    name: str
    about: str
    average: Callable[[_Round], Array]
    server: ServerOptimizer = field(default_factory=ServerReplace)
    sums: bool = False

    def apply(
        self,
        updates: Sequence[Update],
        array: str,
        previous: npt.NDArray[Any],
        state: Mapping[str, npt.NDArray[Any]],
        support: str | None = None,
        support_sigma: float = 0.0,
    ) -> tuple[Array, dict[str, Array]]:
        """Merge one array of one round.

        Args:
            updates: one merchant each; weights are sizes, declared in public or noised.
            array: name of the array to merge.
            previous: the array as the round began.
            state: the study's state, for what the server remembers.
            support: name of each merchant's noised counts of the rows; None if there are none.
            support_sigma: standard deviation of the noise in those counts.

        Returns:
            the merged array, float64, and the entries to put into the state.

        Raises:
            ModelError: updates that do not fit each other, the previous state or this merge.

        Privacy: post-processing of released values, free.
        """
        before = np.asarray(previous, dtype=np.float64)
        merged = self.average(_Round(updates, array, support, support_sigma))
        return self.server.step(before, merged, state, array)


def _by_size(found: _Round) -> Array:
    return fedavg(found.updates, found.array)


def _alike(found: _Round) -> Array:
    return capped_fedavg(found.updates, found.array, 1 / max(1, len(found.updates)))


def _capped(found: _Round) -> Array:
    return capped_fedavg(found.updates, found.array, _LARGEST_SHARE)


def _by_support(found: _Round) -> Array:
    return support_weighted(found.updates, found.array, found.supported)


def _by_precision(found: _Round) -> Array:
    return precision_weighted(found.updates, found.array, found.supported, found.support_sigma)


def _shrunk(found: _Round) -> Array:
    return shrink_rows(found.updates, found.array, found.supported, found.support_sigma)


def _summed(found: _Round) -> Array:
    return summed(found.updates, found.array)


_LARGEST_SHARE = 0.5

DEFAULT_MERGE = "precision"

_MERGES = {
    merge.name: merge
    for merge in (
        Merge("fedavg", "Merchants count by their noised number of shoppers.", _by_size),
        Merge("equal", "Every merchant counts the same, whatever its size.", _alike),
        Merge("capped", "As fedavg, but no merchant counts for more than half.", _capped),
        Merge("support", "For each toy, merchants count by its noised buyers.", _by_support),
        Merge(
            "precision",
            "As support, but merchants whose noise drowns their buyers count for little.",
            _by_precision,
        ),
        Merge(
            "shrunk",
            "As precision, and toys that few bought are drawn towards the average toy.",
            _shrunk,
        ),
        Merge(
            "fedavgm",
            "As fedavg, with momentum at the server (FedAvgM), for many small rounds.",
            _by_size,
            ServerMomentum(),
        ),
        Merge(
            "fedadam",
            "As fedavg, with Adam at the server (FedAdam), for many small rounds.",
            _by_size,
            ServerAdam(),
        ),
        Merge(
            "fedyogi",
            "As fedavg, with Yogi at the server (FedYogi), for many small rounds.",
            _by_size,
            ServerYogi(),
        ),
        Merge(
            "statistics",
            "Merchants send noised sums; the server adds them up and solves once.",
            _summed,
            sums=True,
        ),
    )
}


def merge_names() -> list[str]:
    """Names of all merges."""
    return list(_MERGES)


def merge_named(name: str) -> Merge:
    """The merge of that name. Raises ModelError that lists what there is."""
    if name not in _MERGES:
        raise ModelError(f"Expected a merge of {', '.join(merge_names())}; found {name!r}.")
    return _MERGES[name]
