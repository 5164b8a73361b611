"""The exact sums that a round of private alternating least squares noises; they never leave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.fold_in import FoldIn, bounded_embeddings
from recsys.models.private_als.settings import PrivateALSSettings, SpeedSettings
from recsys.privacy import clip_rows

__all__ = [
    "ShopperSide",
    "Statistics",
    "adaptive_weights",
    "bounded_counts",
    "full_matrices",
    "half_matrices",
    "shopper_side",
    "shopper_vectors",
    "statistics",
]

Float = npt.NDArray[np.float64]
_HAIR = 1.0 - 2.0**-40
MOST_COUNT = 1e12
"""Largest count of a toy; squares and quotients of what it gives stay far from the limits of
floating point."""


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Sums over shoppers with vectors u_i and weights c_ij; matrices as half vectors.

    A half vector holds the diagonal and sqrt(2) times what is above it, so that its L2 norm is
    the Frobenius norm of the symmetric matrix: sensitivities hold for what is released.

    Args:
        gram: G = sum_i u_i u_i', float64 [d (d + 1) / 2].
        outer: A_j = sum_i c_ij u_i u_i', float64 [n_items, d (d + 1) / 2], or [n_items, 0] where
            settings leave them out.
        linear: b_j = sum_i c_ij u_i, float64 [n_items, d].
    """

    gram: Float
    outer: Float
    linear: Float


def half_matrices(matrices: Float) -> Float:
    """Symmetric [..., d, d] -> half vectors [..., d (d + 1) / 2] of the same norm."""
    rows, columns, scale = _triangle(matrices.shape[-1])
    half: Float = matrices[..., rows, columns] * scale
    return half


def full_matrices(halves: Float) -> Float:
    """Half vectors [..., d (d + 1) / 2] -> symmetric [..., d, d]."""
    size = int(np.sqrt(2 * halves.shape[-1]))
    rows, columns, scale = _triangle(size)
    matrices = np.empty((*halves.shape[:-1], size, size))
    values = halves / scale
    matrices[..., rows, columns] = values
    matrices[..., columns, rows] = values
    return matrices


def _outer_halves(vectors: Float) -> Float:
    """[n, d] -> half vectors of v v', [n, d (d + 1) / 2]."""
    rows, columns, scale = _triangle(vectors.shape[1])
    halves: Float = vectors[:, rows]
    halves *= vectors[:, columns]
    halves *= scale
    return halves


def _triangle(size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float]:
    rows, columns = np.triu_indices(size)
    return rows, columns, np.where(rows == columns, 1.0, np.sqrt(2.0))


def shopper_vectors(
    bought: csr_matrix,
    item_embeddings: npt.NDArray[np.float32],
    settings: PrivateALSSettings,
    speed: SpeedSettings | None = None,
) -> Float:
    """Fit every shopper to the toys bought, then clip to Gamma.

        u_i = (alpha V'V + sum_j v_j v_j' + lambda I)^-1 sum_j v_j,   j over toys that i bought

    Args:
        bought: binary [n_shoppers, n_items].
        item_embeddings: V, float32 [n_items, d].

    Returns:
        float64 [n_shoppers, d] with norms of at most Gamma.

    Privacy: stays at the merchant; a row depends on that shopper's purchases and public V only.
    """
    speed = speed or SpeedSettings()
    public = bounded_embeddings(item_embeddings)
    ridge = settings.alpha * public.T @ public
    ridge += settings.shopper_regularization * np.eye(settings.factors)
    vectors = FoldIn(public, ridge).vectors(bought, speed.threads)
    return clip_rows(vectors, settings.clip)


def adaptive_weights(bought: csr_matrix, counts: Float, settings: PrivateALSSettings) -> csr_matrix:
    """Weigh each shopper's toys by public counts n: c_ij = sqrt(B n_j^-2p / sum_l n_l^-2p).

    Args:
        bought: binary [n_shoppers, n_items].
        counts: noised counts of all merchants, float64 [n_items], 1 or more.

    Returns:
        float64 [n_shoppers, n_items] whose rows have a squared norm of at most B.

    Privacy: stays at the merchant; a row depends on that shopper's purchases and public counts.
    """
    power = bounded_counts(counts) ** -settings.count_exponent
    values = power[bought.indices]
    rows = np.repeat(np.arange(bought.shape[0]), np.diff(bought.indptr))
    squared = np.bincount(rows, weights=values**2, minlength=bought.shape[0])
    values = values * (np.sqrt(settings.weight_bound / squared[rows]) * _HAIR)
    return csr_matrix((values, bought.indices, bought.indptr), shape=bought.shape)


def bounded_counts(counts: npt.NDArray[np.floating]) -> Float:
    """Counts as float64 [n_items] in [1, `MOST_COUNT`]; what is not a number is 1.

    The counts come with the state, which the approval does not bind: with counts of 1e308 the
    squared weights of a shopper who bought nothing else would vanish, and dividing by them would
    lift her, and her alone, above every noise.

    Privacy: touches public counts only.
    """
    return np.clip(np.nan_to_num(np.asarray(counts, dtype=np.float64), nan=1.0), 1.0, MOST_COUNT)


@dataclass(frozen=True, eq=False, repr=False)
class ShopperSide:
    """Shoppers' vectors and weights of one round; private, it lives for one release only."""

    vectors: Float
    by_item: csr_matrix
    outer_size: int
    speed: SpeedSettings

    def gram(self) -> Float:
        """G as a half vector."""
        return half_matrices(self.vectors.T @ self.vectors)

    def item_blocks(self) -> Iterator[tuple[int, Float, Float]]:
        """Yield (first toy, outer [m, outer_size], linear [m, d]) for all toys in turn."""
        widest = max(self.outer_size, self.vectors.shape[1])
        step = max(1, self.speed.block_bytes // (8 * widest))
        for start in range(0, self.by_item.shape[0], step):
            weights = self.by_item[start : start + step]
            yield start, self._outer(weights), weights @ self.vectors

    def _outer(self, weights: csr_matrix) -> Float:
        outer = np.zeros((weights.shape[0], self.outer_size))
        if self.outer_size:
            by_shopper = weights.tocsc()
            for first in range(0, len(self.vectors), self.speed.shopper_block):
                last = first + self.speed.shopper_block
                outer += by_shopper[:, first:last] @ _outer_halves(self.vectors[first:last])
        return outer


def shopper_side(
    interactions: Interactions,
    item_embeddings: npt.NDArray[np.float32],
    counts: Float,
    settings: PrivateALSSettings,
    speed: SpeedSettings | None = None,
) -> ShopperSide:
    """Check the public inputs of a round and compute the private half of it."""
    expected = (interactions.n_items, settings.factors)
    if not interactions.n_items:
        raise ModelError("Expected a catalogue with toys, found an empty one.")
    if item_embeddings.shape != expected or not np.isfinite(item_embeddings).all():
        raise ModelError(
            f"Expected finite item embeddings of shape {expected}, found shape "
            f"{item_embeddings.shape}; use the ones that this study published."
        )
    usable = counts.shape == expected[:1] and bool(np.isfinite(counts).all() and (counts > 0).all())
    if not usable:
        raise ModelError(
            f"Expected counts of shape {expected[:1]}, finite and above 0, found shape "
            f"{counts.shape} or values outside that; use merged_counts."
        )
    speed = speed or SpeedSettings()
    bought = interactions.csr()
    vectors = shopper_vectors(bought, item_embeddings, settings, speed)
    weights = adaptive_weights(bought, counts, settings)
    return ShopperSide(vectors, weights.T.tocsr(), settings.outer_size, speed)


def statistics(
    interactions: Interactions,
    item_embeddings: npt.NDArray[np.float32],
    counts: Float,
    settings: PrivateALSSettings,
    speed: SpeedSettings | None = None,
) -> Statistics:
    """All exact sums of one round at once.

    Privacy: stays at the merchant. Unit: a shopper's whole history, add or remove one. L2
    sensitivities: gram Gamma^2, outer sqrt(B) Gamma^2, linear sqrt(B) Gamma.
    """
    side = shopper_side(interactions, item_embeddings, counts, settings, speed)
    blocks = list(side.item_blocks())
    return Statistics(
        side.gram(),
        np.concatenate([outer for _, outer, _ in blocks]),
        np.concatenate([linear for _, _, linear in blocks]),
    )
