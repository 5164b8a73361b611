"""Programs that say what one shopper contributes; ToyFed clips, sums, noises and releases."""

from datasites.merchant.contributions.nest import Nest, RowLimits
from datasites.merchant.contributions.page import Answer, RowArray
from datasites.merchant.contributions.probe import probe_programs

__all__ = ["Answer", "Nest", "RowArray", "RowLimits", "probe_programs"]
