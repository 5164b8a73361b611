"""Private ALS of all merchants in one process, with the recipe's own plan and merge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.simulated import Components, Setting, joined, simulated_noise
from datasites.recipes.private_als.recipe import PrivateALSRecipe
from recsys.data import Catalogue, Interactions
from recsys.federation import DEFAULT_MERGE, Update
from recsys.models import Recommender
from recsys.models.private_als import (
    Plan,
    PrivateALSSettings,
    als_round,
    counts_release,
    make_plan,
    solve_items,
    statistics,
)
from recsys.privacy import Budget, GaussianEvent, SecureNoise

__all__ = ["SimulatedPrivateALS"]


class SimulatedPrivateALS:
    """The `private-als` recipe without processes in between.

    Args:
        rule: how the rounds of the merchants are merged where each noises its own.
    """

    name = "private-als"
    uses_own = True

    def __init__(self, rule: str = DEFAULT_MERGE) -> None:
        self._rule = rule

    def train(
        self, shops: Mapping[str, Interactions], catalogue: Catalogue, setting: Setting
    ) -> Components:
        """Counts, then rounds, merged by the recipe; a secure sum acts as one merchant.

        One merchant that holds all purchases and noises once is what a secure sum of the counts
        and of each round's statistics gives. Without privacy the noise goes, and with it the bound
        on how many toys a shopper counts for; shoppers' vectors stay clipped.
        """
        recipe = PrivateALSRecipe()
        settings = recipe.complete({})
        chosen = PrivateALSSettings.from_dict(
            {name: value for name, value in settings.items() if name != "release"}
        )
        if setting.noise == "secure_sum":
            shops = {"everybody": joined(shops)}
        plan = None
        if setting.epsilon is not None:
            plan = make_plan(chosen, Budget(setting.epsilon, setting.delta))
        noise = simulated_noise(setting, self.name, *shops)
        state = recipe.initial_state(settings, catalogue.n_items)
        for phase in recipe.phases(settings, Budget(1.0, 1e-5), catalogue.n_items):
            if phase.name == "quality":
                continue
            updates = [
                _update(phase.name, merchant, purchases, state, chosen, plan, noise)
                for merchant, purchases in shops.items()
            ]
            state = recipe.merge(phase.name, updates, state, settings, self._rule)
        model = {name: state[name] for name in recipe.model_arrays}

        def components(merchant: str) -> dict[str, Recommender]:
            return recipe.model(model, settings)

        return components


def _update(
    phase: str,
    merchant: str,
    purchases: Interactions,
    state: dict[str, np.ndarray],
    settings: PrivateALSSettings,
    plan: Plan | None,
    noise: SecureNoise,
) -> Update:
    if phase == "counts":
        events: list[GaussianEvent] = []
        if plan is None:
            counts, shoppers = purchases.item_counts().astype(float), float(purchases.n_shoppers)
        else:
            counts, shoppers, events = counts_release(purchases, settings, plan, noise)
        arrays = {"item_counts": counts, "shopper_count": np.array([shoppers])}
        return Update(arrays, 1.0, events, merchant)
    embeddings, counts = state["item_embeddings"], state["item_counts"]
    if plan is None:
        exact = statistics(purchases, embeddings, counts, settings)
        solved = solve_items(exact, settings, counts)
    else:
        number = int(phase.removeprefix("als-"))
        solved, _ = als_round(
            purchases, embeddings, counts, settings, plan, noise, round_number=number
        )
        return Update({"item_embeddings": solved}, 1.0, plan.of(phase), merchant)
    return Update({"item_embeddings": solved}, 1.0, merchant=merchant)
