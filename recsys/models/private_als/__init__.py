"""Alternating least squares under shopper-level differential privacy, one merchant's part."""

from recsys.models.private_als.counts import counts_release, exact_counts, merged_counts
from recsys.models.private_als.plan import Plan, make_plan
from recsys.models.private_als.quality import exact_quality, quality_release
from recsys.models.private_als.rounds import (
    als_round,
    average_rounds,
    initial_embeddings,
    release_statistics,
    solve_items,
)
from recsys.models.private_als.settings import PrivateALSSettings, SpeedSettings
from recsys.models.private_als.statistics import Statistics, statistics

__all__ = [
    "Plan",
    "PrivateALSSettings",
    "SpeedSettings",
    "Statistics",
    "als_round",
    "average_rounds",
    "counts_release",
    "exact_counts",
    "exact_quality",
    "initial_embeddings",
    "make_plan",
    "merged_counts",
    "quality_release",
    "release_statistics",
    "solve_items",
    "statistics",
]
