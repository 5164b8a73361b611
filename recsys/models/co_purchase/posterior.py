"""What a noised count most likely was, given what the catalogue led to expect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["posterior_mean", "shrunk_counts"]

Floats = npt.NDArray[np.float64]

_FAR = 25.0  # standard deviations from where the series is exact to six digits


def posterior_mean(noised: Floats, expected: Floats, sigma: float, shape: float) -> Floats:
    """E[c | c + N(0, sigma^2)] where c has a Gamma prior of mean `expected` and shape `shape`.

        z = noised / sigma - shape sigma / expected
        E = sigma shape D(-shape - 1, -z) / D(-shape, -z)

    with parabolic cylinder functions D (Gradshteyn and Ryzhik, 3.462.1): the prior's exponential
    tail only moves the noise, and what is left is one function of z.

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
    from scipy.special import pbdv

    if sigma <= 0 or noised.size == 0:
        return noised.copy()
    middle = noised - shape * sigma**2 / expected
    z = np.clip(middle / sigma, -1e9, 1e9)
    near = np.clip(z, -_FAR, _FAR)
    result: Floats = sigma * shape * pbdv(-shape - 1, -near)[0] / pbdv(-shape, -near)[0]
    low, high = z < -_FAR, z > _FAR
    result[low] = sigma * shape / -z[low] * (1 - (shape + 1) / z[low] ** 2)
    result[high] = middle[high] + sigma * (shape - 1) / z[high] * (1 - (shape - 2) / z[high] ** 2)
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
