"""The two-tower network of all merchants in one process, with the recipe's own plan and merge."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.simulated import Components, Setting, joined, simulated_noise
from datasites.recipes.neural.recipe import NETWORK, NeuralRecipe
from recsys.data import Catalogue, Interactions
from recsys.federation import DEFAULT_MERGE, Update
from recsys.models import Recommender
from recsys.models.neural import NeuralSettings, ToyFeatures, flatten, toy_features, unflatten
from recsys.models.neural.plan import COUNTS, NeuralPlan, counts_release, make_plan
from recsys.privacy import Budget, SecureNoise

__all__ = ["SimulatedNeural"]


class SimulatedNeural:
    """The `neural` recipe without processes in between.

    Args:
        rule: how the networks of the merchants are merged where each noises its own.
    """

    name = "neural"
    uses_own = True

    def __init__(self, rule: str = DEFAULT_MERGE) -> None:
        self._rule = rule

    def train(
        self, shops: Mapping[str, Interactions], catalogue: Catalogue, setting: Setting
    ) -> Components:
        """Counts, then rounds of local DP-SGD, merged by the recipe.

        A secure sum acts as one merchant: it stands for adding up the merchants' clipped gradients
        in every step, and noising each total once.
        """
        recipe = NeuralRecipe()
        settings = recipe.complete({})
        chosen = NeuralSettings.from_dict(settings)
        if setting.noise == "secure_sum":
            shops = {"everybody": joined(shops)}
        plan = None
        if setting.epsilon is not None:
            plan = make_plan(chosen, Budget(setting.epsilon, setting.delta))
        noise = simulated_noise(setting, self.name, *shops)
        features = toy_features(catalogue, chosen.features)
        state = recipe.initial_state(settings, catalogue.n_items)
        for phase in recipe.phases(settings, Budget(1.0, 1e-5), catalogue.n_items):
            updates = [
                _update(phase.name, merchant, purchases, state, chosen, features, plan, noise)
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
    settings: NeuralSettings,
    features: ToyFeatures,
    plan: NeuralPlan | None,
    noise: SecureNoise,
) -> Update:
    from recsys.models.neural.training import train_locally

    if phase == COUNTS:
        if plan is None:
            counts, shoppers = purchases.item_counts().astype(float), float(purchases.n_shoppers)
        else:
            counts, shoppers = counts_release(purchases, settings, plan, noise)
        arrays = {"item_counts": counts, "shopper_count": np.array([shoppers])}
        return Update(arrays, 1.0, merchant=merchant)
    trained = train_locally(
        purchases,
        features,
        state["popularity"],
        unflatten(state[NETWORK], settings, features.n_items),
        settings,
        1.0 if plan is None else plan.noise_multiplier,
        noise,
        round_number=int(phase.removeprefix("train-")),
        private=plan is not None,
    )
    return Update({NETWORK: flatten(trained)}, 1.0, merchant=merchant)
