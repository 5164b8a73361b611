"""Everything that a private factorization will release, fixed before any data is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recsys.errors import PrivacyError
from recsys.models.private_als.settings import PrivateALSSettings
from recsys.privacy import Budget, GaussianEvent, spent, split_budget

__all__ = ["Plan", "make_plan"]

COUNTS = "counts"
QUALITY = "quality"


@dataclass(frozen=True)
class Plan:
    """The planned events of every phase at one merchant.

    The events that releases book have the same mu; their sensitivity and sigma are larger by the
    same tiny factor, for rounding to the grid (`recsys.privacy.noise`).

    Args:
        settings: that it was made from.
        budget: that all phases together keep to.
        phases: 'counts', 'als-1' ... 'als-T', 'quality' -> events, in that order.
    """

    settings: PrivateALSSettings
    budget: Budget
    phases: Mapping[str, tuple[GaussianEvent, ...]]

    @property
    def events(self) -> list[GaussianEvent]:
        """All planned events, in order."""
        return [event for events in self.phases.values() for event in events]

    @property
    def epsilon(self) -> float:
        """What all phases cost one shopper, at the budget's delta."""
        return spent(self.events, self.budget.delta)

    def of(self, phase: str) -> tuple[GaussianEvent, ...]:
        """Planned events of a phase.

        Raises:
            PrivacyError: a phase that the plan does not have.
        """
        if phase not in self.phases:
            raise PrivacyError(f"Expected a phase among {list(self.phases)}, found {phase!r}.")
        return self.phases[phase]

    def check_made_from(self, settings: PrivateALSSettings) -> None:
        """Raise PrivacyError unless the plan was made from exactly these settings."""
        if settings != self.settings:
            raise PrivacyError(
                "Expected the settings that the plan was made from, found others; its noise "
                "would not fit. Make the plan again with make_plan."
            )


def make_plan(settings: PrivateALSSettings, budget: Budget) -> Plan:
    """Split a budget over counts, rounds and quality, and fix the noise of each.

    Each round's sums share mu_t^2 = 1/s0^2 + B/s1^2 + B/s2^2, s0 = r0 s2, s1 = r1 s2, without the
    middle term where outer products are not released.
    Sensitivities, for one shopper added or removed, of vectors u with |u| <= Gamma:

    - counts: sqrt(kc + 1), at most kc toys and the number of shoppers;
    - gram: |u u'| <= Gamma^2, Frobenius norm;
    - outer: |c_j u u'| over all toys <= sqrt(B) Gamma^2, Frobenius norm;
    - linear: |c_j u| over all toys <= sqrt(B) Gamma;
    - quality: sqrt(k/4 + 1), k figures centred to [-1/2, 1/2] and the number of shoppers.

    Args:
        settings: of the factorization.
        budget: of one shopper at one merchant, for everything below.

    Source: Chien, Jain, Krichene, et al., Private alternating least squares, ICML 2021; Krichene,
    Mayoraz, et al., Multi-task differential privacy under distribution skew, ICML 2023.
    """
    shares = {COUNTS: settings.counts_share, QUALITY: settings.quality_share}
    shares |= {als_phase(t): settings.als_share / settings.rounds for t in _rounds(settings)}
    mu = split_budget(budget, shares)
    sensitivity = math.sqrt(settings.count_bound + 1)
    phases: dict[str, tuple[GaussianEvent, ...]] = {}
    phases[COUNTS] = (GaussianEvent("counts", sensitivity, sensitivity / mu[COUNTS]),)
    for t in _rounds(settings):
        phases[als_phase(t)] = _round_events(settings, t, mu[als_phase(t)])
    if QUALITY in mu:
        sensitivity = math.sqrt(settings.quality_metrics / 4 + 1)
        phases[QUALITY] = (GaussianEvent("quality", sensitivity, sensitivity / mu[QUALITY]),)
    return Plan(settings, budget, phases)


def als_phase(round_number: int) -> str:
    """Name of the phase of round 1, 2, ..."""
    return f"als-{round_number}"


def _rounds(settings: PrivateALSSettings) -> range:
    return range(1, settings.rounds + 1)


def _round_events(
    settings: PrivateALSSettings, round_number: int, mu: float
) -> tuple[GaussianEvent, ...]:
    clip, bound = settings.clip, settings.weight_bound
    r0, r1 = settings.gram_noise, settings.outer_noise
    outer_part = bound / r1**2 if settings.outer_products else 0.0
    s2 = math.sqrt(1 / r0**2 + outer_part + bound) / mu
    name = als_phase(round_number)
    gram = GaussianEvent(f"{name} gram", clip**2, r0 * s2 * clip**2)
    linear = GaussianEvent(f"{name} linear", math.sqrt(bound) * clip, s2 * clip)
    if not settings.outer_products:
        return gram, linear
    outer = GaussianEvent(f"{name} outer", math.sqrt(bound) * clip**2, r1 * s2 * clip**2)
    return gram, outer, linear
