"""How well a model recommends at one merchant, told under privacy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError
from recsys.models.private_als.plan import QUALITY, Plan
from recsys.models.private_als.settings import PrivateALSSettings
from recsys.privacy import GaussianEvent, SecureNoise

__all__ = ["exact_quality", "quality_release"]

Float = npt.NDArray[np.float64]


def exact_quality(per_shopper: Float) -> Float:
    """Sums over shoppers of k figures, centred to [-1/2, 1/2], then the number of shoppers.

    Centring costs nothing and lowers the sensitivity from sqrt(k + 1) to sqrt(k/4 + 1).

    Args:
        per_shopper: float64 [n_shoppers, k]; clipped to [0, 1], not a number counts as 0.

    Returns:
        float64 [k + 1].

    Privacy: stays at the merchant; L2 sensitivity sqrt(k/4 + 1), add or remove one shopper.
    """
    bounded = np.clip(np.nan_to_num(per_shopper, nan=0.0), 0.0, 1.0) - 0.5
    return np.append(bounded.sum(axis=0), float(len(bounded)))


def quality_release(
    per_shopper: Float, settings: PrivateALSSettings, plan: Plan, noise: SecureNoise
) -> tuple[Float, float, list[GaussianEvent]]:
    """Release noised sums of quality figures and the noised number of shoppers.

    Args:
        per_shopper: float64 [n_shoppers, quality_metrics], such as hit rate and NDCG of each.

    Returns:
        sums float64 [k] (divide by the number for a mean), the number of shoppers (at least 1),
        and the event to book.

    Raises:
        ModelError: another number of figures than planned.
        PrivacyError: the plan has no share for quality.

    Privacy: shopper-level, add or remove one; the plan's phase 'quality'.
    """
    plan.check_made_from(settings)
    (planned,) = plan.of(QUALITY)
    if per_shopper.ndim != 2 or per_shopper.shape[1] != settings.quality_metrics:
        raise ModelError(
            f"Expected {settings.quality_metrics} figures for each shopper, found an array with "
            f"{per_shopper.ndim} dimensions or another width; set quality_metrics to fit."
        )
    exact = exact_quality(per_shopper)
    noised, event = noise.release_sum(exact, planned.sensitivity, planned.sigma, planned.what)
    shoppers = max(1.0, float(noised[-1]))
    sums: Float = np.clip(noised[:-1] + 0.5 * noised[-1], 0.0, shoppers)
    return sums, shoppers, [event]
