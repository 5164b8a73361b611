"""What the public state of a shipped recipe has to be, phase by phase.

A merchant approves code and settings; the state comes later, with every round. One with other
arrays, or larger ones, could bring a run to the edge of its memory, where one shopper more decides
whether it fails. So a merchant lets in exactly this. Known from the approved proposal alone,
without loading a recipe: the service asks, which stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasites.protocol import Phase

__all__ = ["StateArray", "state_arrays"]

_COUNTS = "counts"


class StateArray(NamedTuple):
    """One array of a state: name, exact shape, dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def state_arrays(
    recipe: str, phase: Phase, settings: Mapping[str, Any], n_items: int
) -> tuple[StateArray, ...] | None:
    """The arrays that a phase starts from; () for none, None where the study's author decides.

    Args:
        recipe: whose shipped code runs. Of `custom`, whose programs have a memory of their own for
            each shopper, nothing is known.
        phase: approved.
        settings: approved, complete.
        n_items: toys in the catalogue.
    """
    if recipe in ("private-als", "co-purchase", "neural") and phase.name == _COUNTS:
        return ()
    if recipe == "private-als":
        return (
            StateArray("item_embeddings", (n_items, int(settings["factors"])), "float32"),
            StateArray("item_counts", (n_items,), "float64"),
        )
    if recipe == "co-purchase":
        cells = n_items * int(settings["pairs_per_toy"])
        return (
            StateArray("pair_toys", (cells, 2), "int32"),
            StateArray("pair_similarity", (cells,), "float32"),
        )
    if recipe == "neural":
        (network,) = phase.outputs
        return (
            StateArray(network.name, tuple(network.shape), network.dtype),
            StateArray("popularity", (n_items,), "float64"),
        )
    return None
