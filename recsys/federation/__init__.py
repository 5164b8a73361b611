"""One model from many merchants' updates: FedAvg and its kin, which all reject bad updates."""

from recsys.federation.merges import (
    capped_fedavg,
    fedavg,
    precision_weighted,
    shrink_rows,
    sum_statistics,
    support_weighted,
)
from recsys.federation.rules import (
    DEFAULT_MERGE,
    Merge,
    merge_named,
    merge_names,
)
from recsys.federation.server import (
    ServerAdam,
    ServerMomentum,
    ServerOptimizer,
    ServerReplace,
    ServerYogi,
)
from recsys.federation.update import Update

__all__ = [
    "DEFAULT_MERGE",
    "Merge",
    "ServerAdam",
    "ServerMomentum",
    "ServerOptimizer",
    "ServerReplace",
    "ServerYogi",
    "Update",
    "capped_fedavg",
    "fedavg",
    "merge_named",
    "merge_names",
    "precision_weighted",
    "shrink_rows",
    "sum_statistics",
    "support_weighted",
]
