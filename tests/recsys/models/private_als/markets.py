"""Small random markets, and the same ones without one shopper."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from recsys.data.interactions import Interactions
from recsys.models.private_als import PrivateALSSettings


@st.composite
def markets(draw: st.DrawFn, least: int = 0) -> Interactions:
    """Up to 12 shoppers and 8 toys; shoppers may buy nothing, everything, or a toy twice."""
    n_items = draw(st.integers(1, 8))
    histories = draw(
        st.lists(st.lists(st.integers(0, n_items - 1), max_size=20), min_size=least, max_size=12)
    )
    return Interactions.from_lists(histories, n_items)


@st.composite
def settings_of_any_kind(draw: st.DrawFn) -> PrivateALSSettings:
    """Settings far apart, so that a forgotten factor shows."""
    return PrivateALSSettings(
        factors=draw(st.integers(1, 5)),
        rounds=draw(st.integers(1, 4)),
        clip=draw(st.sampled_from([0.05, 1.0, 3.0])),
        weight_bound=draw(st.sampled_from([0.2, 1.0, 7.0])),
        count_bound=draw(st.integers(1, 5)),
        count_exponent=draw(st.sampled_from([0.0, 0.25, 0.5])),
        outer_products=draw(st.booleans()),
        popularity_weight=draw(st.sampled_from([0.0, 5.0])),
        alpha=draw(st.sampled_from([0.0, 0.3])),
        shopper_regularization=draw(st.sampled_from([1e-6, 0.1, 10.0])),
        init_scale=draw(st.sampled_from([0.1, 10.0])),
        seed=draw(st.integers(0, 3)),
    )


def without(interactions: Interactions, shopper: int) -> Interactions:
    """The neighbouring market."""
    kept = np.arange(interactions.n_shoppers) != shopper
    return interactions.rows(np.flatnonzero(kept))


def random_market(n_shoppers: int, n_items: int, seed: int, mean: float = 6.0) -> Interactions:
    """Independent purchases, duplicates included."""
    rng = np.random.default_rng(seed)
    return Interactions.from_lists(
        [rng.integers(0, n_items, size) for size in rng.poisson(mean, n_shoppers)], n_items
    )
