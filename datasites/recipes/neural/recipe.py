"""The scientist's side of the two-tower network: phases with their cost, and the merge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from datasites.errors import SettingsError
from datasites.protocol import ArraySpec, Phase
from datasites.recipes.base import Recipe
from recsys.errors import PrivacyError
from recsys.federation import Update, merge_named
from recsys.models.neural import NeuralSettings, flatten, initial_weights, n_weights
from recsys.models.neural.plan import COUNTS, make_plan, merged_popularity, train_phase
from recsys.models.neural.weights import LARGEST

if TYPE_CHECKING:
    from recsys.models import Recommender
    from recsys.privacy import Budget

__all__ = ["NeuralRecipe"]

NETWORK = "network"

# A merchant is not trusted either: no update may make the sum of all of them overflow.
_MOST = 1e9
_BY_TOY = ("support", "precision", "shrunk")


class NeuralRecipe(Recipe):
    """A two-tower network under shopper-level privacy: local DP-SGD, merged each round."""

    name: ClassVar[str] = "neural"
    title: ClassVar[str] = "Private two-tower network"
    code: ClassVar[Path] = Path(__file__).parent / "code"
    model_arrays: ClassVar[tuple[str, ...]] = (NETWORK, "popularity", "item_counts")

    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        try:
            return NeuralSettings.from_dict(model).to_dict()
        except (PrivacyError, TypeError) as error:
            raise SettingsError(f"[model] of neural: {error}") from None

    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        chosen = NeuralSettings.from_dict(settings)
        counts = (
            ArraySpec(name="item_counts", shape=(n_items,), dtype="float64"),
            ArraySpec(name="shopper_count", shape=(1,), dtype="float64"),
        )
        size = n_weights(chosen, n_items)
        trained = (ArraySpec(name=NETWORK, shape=(size,), dtype="float32"),)
        return tuple(
            Phase(
                name=name,
                outputs=counts if name == COUNTS else trained,
                events=tuple(event.to_dict() for event in events),
            )
            for name, events in make_plan(chosen, budget).phases.items()
        )

    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        chosen = NeuralSettings.from_dict(settings)
        return {NETWORK: flatten(initial_weights(chosen, n_items))}

    def state_for(self, phase: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if phase == COUNTS:
            return {}
        return {name: state[name] for name in (NETWORK, "popularity")}

    def merge(
        self,
        phase: str,
        updates: list[Update],
        state: dict[str, np.ndarray],
        settings: dict[str, Any],
        rule: str,
    ) -> dict[str, np.ndarray]:
        """Counts add up; networks are averaged, w = sum_k (n_k / n) w_k (McMahan et al. 2017).

        n_k is the noised number of shoppers that merchant k released with its counts. A network
        has no rows of toys, so rules that weigh toy by toy weigh it as 'fedavg' does. After the
        last round the last rounds' networks are averaged too: less noise, at no cost.
        """
        state = dict(state)
        if phase == COUNTS:
            return state | _merged_counts(updates)
        merge = merge_named("fedavg" if rule in _BY_TOY else rule)
        if merge.sums:
            raise SettingsError(
                f"expected a merge that averages models for the recipe neural, found '{rule}'; "
                "choose 'fedavg'"
            )
        weighed = [_weighed(update, state) for update in updates]
        merged, remembered = merge.apply(weighed, NETWORK, previous=state[NETWORK], state=state)
        bounded = np.clip(merged, -LARGEST, LARGEST).astype(np.float32)
        state |= remembered | {NETWORK: bounded, f"round:{phase}": bounded}
        chosen = NeuralSettings.from_dict(settings)
        # Only the rounds that will be averaged: a checkpoint must not grow with every round.
        early = int(phase.rpartition("-")[2]) - chosen.averaged_rounds
        state.pop(f"round:{train_phase(early)}", None)
        if phase == train_phase(chosen.rounds):
            first = max(1, chosen.rounds - chosen.averaged_rounds + 1)
            rounds = [f"round:{train_phase(t)}" for t in range(first, chosen.rounds + 1)]
            found = [state[name] for name in rounds if name in state]
            state[NETWORK] = np.mean(np.stack(found), axis=0).astype(np.float32)
        return state

    def model(
        self, arrays: dict[str, np.ndarray], settings: dict[str, Any]
    ) -> dict[str, Recommender]:
        from recsys.models import Popularity, TwoTower

        chosen = NeuralSettings.from_dict(settings)
        return {
            "shared": TwoTower(arrays[NETWORK], arrays["popularity"], chosen),
            "shared_popularity": Popularity(arrays["item_counts"]),
        }


def _merged_counts(updates: list[Update]) -> dict[str, np.ndarray]:
    """The counts of all, and what each merchant said of itself, as entries of the state."""
    entries: dict[str, np.ndarray] = {}
    total: Any = 0.0
    for update in updates:
        counts = np.clip(update.arrays["item_counts"], -_MOST, _MOST)
        entries[f"size_of:{update.merchant}"] = update.arrays["shopper_count"]
        total = total + counts
    entries["item_counts"] = np.maximum(total, 0.0)
    entries["popularity"] = merged_popularity(total)
    return entries


def _weighed(update: Update, state: dict[str, np.ndarray]) -> Update:
    """The update, bounded, with its merchant's noised size; an average merchant's if it has none.

    A merchant that dropped out of the `counts` phase may still train.
    """
    sizes = [float(size[0]) for key, size in state.items() if key.startswith("size_of:")]
    size = state.get(f"size_of:{update.merchant}", [float(np.median(sizes))])[0]
    network = np.clip(update.arrays[NETWORK], -LARGEST, LARGEST)
    return replace(update, weight=min(_MOST, max(1.0, float(size))), arrays={NETWORK: network})
