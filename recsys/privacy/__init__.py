"""Shopper-level differential privacy: events and budgets, accounting, clipping, noise, audit."""

from recsys.privacy.accounting import compose, delta_of, epsilon_of, mu_of, spent
from recsys.privacy.audit import CanaryAudit, audit_canaries, noise_problems, reuse_problems
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

__all__ = [
    "Budget",
    "CanaryAudit",
    "GaussianEvent",
    "GaussianRelease",
    "PrivacyEvent",
    "PrivacyUnit",
    "SecureNoise",
    "SubsampledGaussianEvent",
    "audit_canaries",
    "clip_rows",
    "compose",
    "delta_of",
    "epsilon_of",
    "event_from_dict",
    "grid_for",
    "keep_at_most",
    "mu_of",
    "noise_problems",
    "reuse_problems",
    "spent",
    "split_budget",
]
