"""For all tests: what may differ from machine to machine decides nothing."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no defect: no example fails for the time that it took.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
