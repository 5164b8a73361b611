"""Which toys are bought soon after one another: what ONE shopper adds to the sums.

This file travels to the merchants. There, ToyFed calls `contribution` once for each shopper, in a
process that sees nothing of any other; it cuts the whole row to the length that study.toml names
as `clip`, adds the rows up, and adds the noise. Nothing here has to care about privacy, and
nothing here could harm it.

history   int32 [n], the toys that the shopper bought, as catalogue indices, oldest first
state     public arrays of the study, as server.py left them: here item_vectors, float32 [toys, d]
settings  [model.program] of study.toml, and `phase` and `n_items`

Return the arrays of the phase by name: whole arrays, or (indices, values) for the rows of the first
axis that are not zero. An array that is left out is zeros.
"""

import numpy as np


def contribution(history, state, settings):
    if settings["phase"] == "counts":
        bought = np.unique(history)
        # One over the root of their number: everybody's row has length 1 and none is cut.
        return {"item_counts": (bought, np.full(len(bought), len(bought) ** -0.5))}
    return {"item_sums": neighbours(history, state["item_vectors"], settings["window"])}


def neighbours(history, vectors, window):
    """For each toy bought, the vectors of what the shopper bought shortly before or after it."""
    indices, values = [], []
    for distance in range(1, window + 1):
        for one, other in (
            (history[:-distance], history[distance:]),
            (history[distance:], history[:-distance]),
        ):
            indices.append(one)
            values.append(vectors[other] / distance)
    if not indices:
        return [], []
    return np.concatenate(indices), np.concatenate(values)
