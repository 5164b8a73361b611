"""The scientist's side of private ALS: phases with their cost, and the merge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from datasites.errors import SettingsError
from datasites.protocol import ArraySpec, Phase
from datasites.recipes.base import Recipe
from recsys.errors import PrivacyError
from recsys.federation import Update, fedavg, support_weighted
from recsys.models.private_als import (
    PrivateALSSettings,
    average_rounds,
    initial_embeddings,
    make_plan,
    merged_counts,
)

if TYPE_CHECKING:
    from recsys.models import Recommender
    from recsys.privacy import Budget

__all__ = ["QUALITY_FIGURES", "PrivateALSRecipe"]

QUALITY_FIGURES = ("content hr@10", "content ndcg@10", "shared hr@10", "shared ndcg@10")
"""What the sums of the `quality` phase are, in order; all on the `valid` split."""

# A merchant is not trusted either: no update may make the sum of all of them overflow.
_MOST_BUYERS = 1e9


class PrivateALSRecipe(Recipe):
    """Alternating least squares under shopper-level privacy, merged with FedAvg each round."""

    name: ClassVar[str] = "private-als"
    title: ClassVar[str] = "Private matrix factorization"
    code: ClassVar[Path] = Path(__file__).parent / "code"
    model_arrays: ClassVar[tuple[str, ...]] = ("item_embeddings", "item_counts")
    optional_phases: ClassVar[tuple[str, ...]] = ("quality",)

    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        try:
            wanted = {"quality_metrics": len(QUALITY_FIGURES)} | model
            settings = PrivateALSSettings.from_dict(wanted)
        except (PrivacyError, TypeError) as error:
            raise SettingsError(f"[model] of private-als: {error}") from None
        if settings.quality_metrics != len(QUALITY_FIGURES):
            raise SettingsError(
                f"[model] of private-als: expected quality_metrics = {len(QUALITY_FIGURES)}, "
                f"found {settings.quality_metrics}. Leave it out."
            )
        return settings.to_dict()

    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        chosen = PrivateALSSettings.from_dict(settings)
        vector = ArraySpec(name="item_counts", shape=(n_items,), dtype="float64")
        count = ArraySpec(name="shopper_count", shape=(1,), dtype="float64")
        embeddings = ArraySpec(
            name="item_embeddings", shape=(n_items, chosen.factors), dtype="float32"
        )
        sums = ArraySpec(name="quality_sums", shape=(len(QUALITY_FIGURES),), dtype="float64")
        outputs = {"counts": (vector, count), "quality": (sums, count)}
        return tuple(
            Phase(
                name=name,
                outputs=outputs.get(name, (embeddings,)),
                events=tuple(event.to_dict() for event in events),
            )
            for name, events in make_plan(chosen, budget).phases.items()
        )

    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        chosen = PrivateALSSettings.from_dict(settings)
        return {"item_embeddings": initial_embeddings(n_items, chosen)}

    def state_for(self, phase: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if phase == "counts":
            return {}
        return {name: state[name] for name in ("item_embeddings", "item_counts")}

    def merge(
        self,
        phase: str,
        updates: list[Update],
        state: dict[str, np.ndarray],
        settings: dict[str, Any],
        rule: str,
    ) -> dict[str, np.ndarray]:
        """Counts add up; embeddings are averaged, w = sum_k (n_k / n) w_k (McMahan et al. 2017).

        n_k is the noised number of shoppers that merchant k released with its counts; with the
        rule 'support' it is, for each toy, the noised number of its buyers.
        """
        state = dict(state)
        if phase == "counts":
            for update in updates:
                counts = np.clip(update.arrays["item_counts"], -_MOST_BUYERS, _MOST_BUYERS)
                state[f"counts_of:{update.merchant}"] = counts
                state[f"size_of:{update.merchant}"] = update.arrays["shopper_count"]
            state["item_counts"] = merged_counts(
                [state[f"counts_of:{update.merchant}"] for update in updates]
            )
        elif phase == "quality":
            for update in updates:
                state[f"quality_of:{update.merchant}"] = np.append(
                    update.arrays["quality_sums"], update.arrays["shopper_count"]
                )
        else:
            weighed = [_with_support(update, state) for update in updates]
            merged = (
                fedavg(weighed, "item_embeddings")
                if rule == "fedavg"
                else support_weighted(weighed, "item_embeddings", "item_counts")
            )
            state["item_embeddings"] = state[f"round:{phase}"] = merged.astype(np.float32)
            chosen = PrivateALSSettings.from_dict(settings)
            if phase == f"als-{chosen.rounds}":
                rounds = [state.get(f"round:als-{t}") for t in range(1, chosen.rounds + 1)]
                finished = [embeddings for embeddings in rounds if embeddings is not None]
                state["item_embeddings"] = average_rounds(finished, chosen)
        return state

    def model(
        self, arrays: dict[str, np.ndarray], settings: dict[str, Any]
    ) -> dict[str, Recommender]:
        from recsys.models import Popularity, SharedEmbeddings

        return {
            # The best of three fold-ins on `valid` of an invented market of eight shops.
            "shared": SharedEmbeddings(arrays["item_embeddings"], alpha=2.0, regularization=0.01),
            "shared_popularity": Popularity(arrays["item_counts"]),
        }


def _with_support(update: Update, state: dict[str, np.ndarray]) -> Update:
    """The update with its merchant's noised counts and size; an average one's if it has none.

    A merchant that dropped out of the `counts` phase may still train.
    """
    sizes = [float(size[0]) for key, size in state.items() if key.startswith("size_of:")]
    size = state.get(f"size_of:{update.merchant}", [float(np.median(sizes))])[0]
    counts = state.get(f"counts_of:{update.merchant}", state["item_counts"] / len(sizes))
    return replace(
        update, weight=max(1.0, float(size)), arrays={**update.arrays, "item_counts": counts}
    )
