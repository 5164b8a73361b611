"""One model from many merchants' updates: averages and sums that all reject bad updates."""

from recsys.federation.merges import fedavg, sum_statistics, support_weighted
from recsys.federation.update import Update

__all__ = ["Update", "fedavg", "sum_statistics", "support_weighted"]
