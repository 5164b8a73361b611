"""What a noised count most likely was, given what the catalogue led to expect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["posterior_mean", "shrunk_counts"]

Floats = npt.NDArray[np.float64]

_GROUPS, _GRID = 48, 240
_TAIL = np.concatenate([np.linspace(0.005, 0.9, 60), 1 - np.logspace(-1, -6, 60)])


def posterior_mean(noised: Floats, expected: Floats, sigma: float, shape: float) -> Floats:
    """E[c | c + N(0, sigma^2)] where c has a Gamma prior of mean `expected` and shape `shape`.

    A small shape is a prior of many zeros and a long tail: weak evidence is believed hardly at
    all, strong evidence almost entirely, which no linear shrinkage does.

    Args:
        noised: float64 [n].
        expected: float64 [n], above 0.
        sigma: standard deviation of the noise; 0 returns `noised`.
        shape: of the Gamma distribution, above 0.

    Returns:
        float64 [n], 0 or more where there is noise.

    Privacy: post-processing of released sums, free.
    """
    from scipy.special import gammaincinv

    if sigma <= 0 or noised.size == 0:
        return noised.copy()
    levels = np.log(expected)
    cuts = np.unique(np.quantile(levels, np.linspace(0, 1, _GROUPS + 1)[1:-1]))
    group = np.digitize(levels, cuts)
    # The prior as weighted points, denser in its tail.
    points = gammaincinv(shape, _TAIL) / shape
    edges = np.concatenate([[0.0], (_TAIL[1:] + _TAIL[:-1]) / 2, [1.0]])
    log_weights = np.log(np.diff(edges))
    result = np.empty_like(noised)
    order = np.argsort(group, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        counts = points * expected[part].mean()
        seen = np.linspace(-5 * sigma, max(float(noised[part].max()), 5 * sigma), _GRID)
        log_likelihood = log_weights - (seen[:, None] - counts) ** 2 / (2 * sigma**2)
        weights = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        means = (weights @ counts) / weights.sum(axis=1)
        result[part] = np.interp(noised[part], seen, means)
    return result


def shrunk_counts(noised: Floats, variance: float, own: Floats, total: float) -> Floats:
    """Others' buyers of each toy: noised counts, shrunk to what the merchant's own lead to expect.

        prior mean p_j = total (own_j + 1) / sum (own + 1), prior variance p_j^2
        n_j = p_j + p_j^2 / (p_j^2 + variance) (noised_j - p_j)

    Args:
        noised: float64 [n_items], sum of the others' released counts.
        variance: of the noise in each.
        own: float64 [n_items], this merchant's exact buyers.
        total: of the others' counts, 0 or more.

    Returns:
        float64 [n_items], 0 or more.

    Privacy: combines releases with the merchant's own data; stays at the merchant.
    """
    prior = total * (own + 1.0) / (own + 1.0).sum()
    spread = prior**2
    trust = np.divide(spread, spread + variance, out=np.ones_like(prior), where=spread > 0)
    shrunk: Floats = np.maximum(prior + trust * (noised - prior), 0.0)
    return shrunk
