"""What the sums become. This file stays on the data scientist's machine.

Everything here works on numbers that merchants released noised: it costs no privacy.
"""

import hashlib

import numpy as np


def initial_state(settings, catalogue):
    """Public vectors that everybody starts from: toys with the same words lie close together.

    Returns arrays by name; the program sees them as `state`.
    """
    factors = settings["factors"]
    vectors = np.zeros((catalogue.n_items, factors))
    for toy, text in enumerate(catalogue.text()):
        for word in set(text.lower().split()):
            digest = hashlib.sha256(f"{settings['seed']} {word}".encode()).digest()
            seed = int.from_bytes(digest[:8], "little")
            vectors[toy] += np.random.default_rng(seed).standard_normal(factors)
    return {"item_vectors": unit(vectors).astype(np.float32)}


def merge(phase, sums, state, settings):
    """After each phase: what the merchants' sums, already added up, change in the state.

    `item_embeddings` [toys, d] is what merchants serve in the end, `item_counts` [toys] beside it.
    """
    if phase == "counts":
        return {"item_counts": np.maximum(sums["item_counts"], 0.0)}
    # What was learned counts as far as it stands out of the noise of an average toy.
    learned = sums["item_sums"]
    typical = np.median(np.linalg.norm(learned, axis=1)) + 1e-9
    vectors = state["item_vectors"] + learned / typical
    return {"item_embeddings": unit(vectors).astype(np.float32)}


def unit(vectors):
    """Vectors of length 1."""
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
