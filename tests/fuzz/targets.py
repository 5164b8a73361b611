"""All fuzz targets by name."""

from __future__ import annotations

from tests.fuzz import targets_data, targets_messages, targets_models, targets_settings
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {
    target.name: target
    for part in (targets_messages, targets_settings, targets_data, targets_models)
    for target in part.TARGETS
}
