"""How good recommendations are: full ranking, exact metrics, intervals over shoppers."""

from recsys.evaluation.bootstrap import Difference, intervals, paired_difference
from recsys.evaluation.protocol import KS, Evaluation, combine, evaluate

__all__ = [
    "KS",
    "Difference",
    "Evaluation",
    "combine",
    "evaluate",
    "intervals",
    "paired_difference",
]
