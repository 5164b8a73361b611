"""Shopper-level differential privacy: events and budgets, accounting, clipping, noise, audit."""

from recsys.privacy.accounting import compose, delta_of, epsilon_of, mu_of
from recsys.privacy.audit import (
    CanaryAudit,
    GuessAudit,
    audit_canaries,
    audit_guesses,
    noise_problems,
    reuse_problems,
)
from recsys.privacy.calibration import split_budget
from recsys.privacy.clipping import clip_rows, keep_at_most
from recsys.privacy.events import (
    Budget,
    GaussianEvent,
    PrivacyEvent,
    PrivacyUnit,
    SubsampledGaussianEvent,
    event_from_dict,
)
from recsys.privacy.noise import GaussianRelease, SecureNoise, grid_for
from recsys.privacy.spending import Tally, mu_left, noise_multiplier_for, spent

__all__ = [
    "Budget",
    "CanaryAudit",
    "GaussianEvent",
    "GaussianRelease",
    "GuessAudit",
    "PrivacyEvent",
    "PrivacyUnit",
    "SecureNoise",
    "SubsampledGaussianEvent",
    "Tally",
    "audit_canaries",
    "audit_guesses",
    "clip_rows",
    "compose",
    "delta_of",
    "epsilon_of",
    "event_from_dict",
    "grid_for",
    "keep_at_most",
    "mu_left",
    "mu_of",
    "noise_multiplier_for",
    "noise_problems",
    "reuse_problems",
    "spent",
    "split_budget",
]
