"""Which of the approved releases a run uses up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from datasites.errors import ReviewError
from recsys.privacy.events import GaussianEvent, PrivacyEvent

__all__ = ["TOLERANCE", "take"]

TOLERANCE = 1e-9
"""Relative slack of comparisons, so that a plan calibrated exactly to a budget fits it."""


def take(
    unused: Sequence[PrivacyEvent], wanted: Sequence[PrivacyEvent]
) -> tuple[PrivacyEvent, ...]:
    """What is left of the `unused` approved events once a run has taken `wanted`.

    Each wanted event takes one approved event of the same name that covers it, the cheapest that
    does; the most expensive choose first.

    Raises: ReviewError if there is none.
    """
    left = list(unused)
    for event in sorted(wanted, key=_size, reverse=True):
        fitting = [other for other in left if _covers(other, event)]
        if not fitting:
            names = Counter(other.what for other in left)
            raise ReviewError(
                f"The run would release '{event.what[:60]}' with {event.in_words()}, which is not "
                f"among what is left of the approval ({len(left)} releases, {names[event.what]} "
                "of that name). Submit a new request for it."
            )
        left.remove(min(fitting, key=_size))
    return tuple(left)


def _covers(approved: PrivacyEvent, wanted: PrivacyEvent) -> bool:
    """Whether `wanted` is of the same kind and name and in nothing more than was approved."""
    if approved.what != wanted.what:
        return False
    if isinstance(approved, GaussianEvent):
        return isinstance(wanted, GaussianEvent) and wanted.mu <= approved.mu * (1 + TOLERANCE)
    return (
        not isinstance(wanted, GaussianEvent)
        and wanted.sampling_rate == approved.sampling_rate
        and wanted.noise_multiplier >= approved.noise_multiplier * (1 - TOLERANCE)
        and wanted.steps <= approved.steps
    )


def _size(event: PrivacyEvent) -> float:
    """Orders events of one name by what they cost; nothing is compared with a budget by it."""
    if isinstance(event, GaussianEvent):
        return event.mu
    return event.sampling_rate * math.sqrt(event.steps) / event.noise_multiplier
