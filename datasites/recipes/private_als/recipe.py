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
from recsys.federation import Update, merge_named, sum_statistics
from recsys.models.private_als import (
    PrivateALSSettings,
    Statistics,
    average_rounds,
    initial_embeddings,
    make_plan,
    merged_counts,
    solve_items,
)
from recsys.privacy import GaussianEvent

if TYPE_CHECKING:
    from recsys.models import Recommender
    from recsys.privacy import Budget

__all__ = ["QUALITY_FIGURES", "PrivateALSRecipe"]

QUALITY_FIGURES = ("content hr@10", "content ndcg@10", "shared hr@10", "shared ndcg@10")
"""What the sums of the `quality` phase are, in order; all on the `valid` split."""

EMBEDDINGS, STATISTICS = "embeddings", "statistics"

# A merchant is not trusted either: no update may make the sum of all of them overflow.
_MOST = 1e9


class PrivateALSRecipe(Recipe):
    """Alternating least squares under shopper-level privacy, merged each round.

    Beside the settings of `PrivateALSSettings` there is `release`: 'embeddings', which each
    merchant solves for, or 'statistics', the noised sums that they are solved from, which the
    server adds up. Both cost the same privacy; statistics are (d + 3) / 2 times as many numbers.
    """

    name: ClassVar[str] = "private-als"
    title: ClassVar[str] = "Private matrix factorization"
    code: ClassVar[Path] = Path(__file__).parent / "code"
    model_arrays: ClassVar[tuple[str, ...]] = ("item_embeddings", "item_counts")
    optional_phases: ClassVar[tuple[str, ...]] = ("quality",)

    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        release = model.get("release", EMBEDDINGS)
        if release not in (EMBEDDINGS, STATISTICS):
            raise SettingsError(
                f"[model] of private-als: expected release = '{EMBEDDINGS}' or '{STATISTICS}', "
                f"found {release!r}."
            )
        try:
            settings = _factorization({"quality_metrics": len(QUALITY_FIGURES)} | model)
        except (PrivacyError, TypeError) as error:
            raise SettingsError(f"[model] of private-als: {error}") from None
        if settings.quality_metrics != len(QUALITY_FIGURES):
            raise SettingsError(
                f"[model] of private-als: expected quality_metrics = {len(QUALITY_FIGURES)}, "
                f"found {settings.quality_metrics}. Leave it out."
            )
        return settings.to_dict() | {"release": release}

    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        chosen = _factorization(settings)
        vector = ArraySpec(name="item_counts", shape=(n_items,), dtype="float64")
        count = ArraySpec(name="shopper_count", shape=(1,), dtype="float64")
        embeddings = ArraySpec(
            name="item_embeddings", shape=(n_items, chosen.factors), dtype="float32"
        )
        sums = ArraySpec(name="quality_sums", shape=(len(QUALITY_FIGURES),), dtype="float64")
        trained: tuple[ArraySpec, ...] = (embeddings,)
        if settings.get("release", EMBEDDINGS) == STATISTICS:
            trained = (
                ArraySpec(name="gram", shape=(chosen.half_size,), dtype="float64"),
                ArraySpec(name="outer", shape=(n_items, chosen.outer_size), dtype="float64"),
                ArraySpec(name="linear", shape=(n_items, chosen.factors), dtype="float64"),
            )
        outputs = {"counts": (vector, count), "quality": (sums, count)}
        return tuple(
            Phase(
                name=name,
                outputs=outputs.get(name, trained),
                events=tuple(event.to_dict() for event in events),
            )
            for name, events in make_plan(chosen, budget).phases.items()
        )

    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        chosen = _factorization(settings)
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
        """Counts add up; embeddings are merged by the rule, such as w = sum_k (n_k / n) w_k.

        n_k is the noised number of shoppers that merchant k released with its counts; rules that
        weigh toy by toy take the noised number of each toy's buyers. With released statistics the
        sums of all merchants are solved once.

        Source: McMahan et al., AISTATS 2017; `recsys.federation` for the other rules.
        """
        state = dict(state)
        if phase == "counts":
            return state | _merged_counts(updates)
        if phase == "quality":
            for update in updates:
                state[f"quality_of:{update.merchant}"] = np.append(
                    update.arrays["quality_sums"], update.arrays["shopper_count"]
                )
            return state
        chosen, merge = _factorization(settings), merge_named(rule)
        if merge.sums != (settings.get("release", EMBEDDINGS) == STATISTICS):
            raise SettingsError(
                f"expected merge = '{STATISTICS}' together with release = '{STATISTICS}', found "
                f"'{rule}' and '{settings['release']}'"
            )
        if merge.sums:
            bounded_updates = [_bounded(update) for update in updates]
            merged = _solved(bounded_updates, chosen, state["item_counts"])
        else:
            merged, remembered = merge.apply(
                [_with_support(_bounded(update), state) for update in updates],
                "item_embeddings",
                previous=state["item_embeddings"],
                state=state,
                support="item_counts",
                support_sigma=float(state["counts_sigma"][0]),
            )
            state |= remembered
        bounded = np.clip(merged, -_MOST, _MOST).astype(np.float32)
        state["item_embeddings"] = state[f"round:{phase}"] = bounded
        # Only the rounds that will be averaged: a checkpoint must not grow with every round.
        state.pop(f"round:als-{int(phase.removeprefix('als-')) - chosen.averaged_rounds}", None)
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


def _factorization(settings: dict[str, Any]) -> PrivateALSSettings:
    """The settings without `release`, which decides what is sent and not what is learned."""
    return PrivateALSSettings.from_dict(
        {name: value for name, value in settings.items() if name != "release"}
    )


def _merged_counts(updates: list[Update]) -> dict[str, np.ndarray]:
    """The counts of all, and what each merchant said of itself, as entries of the state."""
    entries: dict[str, np.ndarray] = {}
    for update in updates:
        counts = np.clip(update.arrays["item_counts"], -_MOST, _MOST)
        entries[f"counts_of:{update.merchant}"] = counts
        entries[f"size_of:{update.merchant}"] = update.arrays["shopper_count"]
    entries["item_counts"] = merged_counts(
        [entries[f"counts_of:{update.merchant}"] for update in updates]
    )
    sigmas = [
        event.sigma
        for update in updates
        for event in update.events
        if isinstance(event, GaussianEvent)
    ]
    entries["counts_sigma"] = np.array([max(sigmas, default=0.0)])
    return entries


def _bounded(update: Update) -> Update:
    arrays = {name: np.clip(array, -_MOST, _MOST) for name, array in update.arrays.items()}
    return replace(update, arrays=arrays)


def _solved(updates: list[Update], settings: PrivateALSSettings, counts: np.ndarray) -> np.ndarray:
    """Solve the sums of all merchants, as regularised as FedAvg.

    The mean of K solutions (A_k + lambda I)^-1 b_k of merchants who are alike is
    (sum A_k + K lambda I)^-1 sum b_k, so lambda, which is a merchant's, counts K times.
    """
    sums = sum_statistics(updates)
    settings = replace(settings, item_regularization=len(updates) * settings.item_regularization)
    return solve_items(Statistics(sums["gram"], sums["outer"], sums["linear"]), settings, counts)


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
