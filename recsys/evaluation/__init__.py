"""How good recommendations are: full ranking, exact metrics, intervals over shoppers."""

from recsys.evaluation.bootstrap import Difference, intervals, paired_difference
from recsys.evaluation.groups import bought_groups, by_group
from recsys.evaluation.protocol import KS, Evaluation, combine, evaluate
from recsys.evaluation.report import ModelFigures, Report, measured

__all__ = [
    "KS",
    "Difference",
    "Evaluation",
    "ModelFigures",
    "Report",
    "bought_groups",
    "by_group",
    "combine",
    "evaluate",
    "intervals",
    "measured",
    "paired_difference",
]
