"""Purchases and catalogues: what they are, how they are read, split, described and invented.

The privacy unit throughout is one shopper at one merchant: the same shopper id at two merchants
means two shoppers.
"""

from recsys.data.amazon import convert_amazon
from recsys.data.catalogue import Catalogue
from recsys.data.catalogue_files import read_catalogue, write_catalogue
from recsys.data.interactions import Interactions
from recsys.data.marketplace import (
    Marketplace,
    Shop,
    describe,
    read_marketplace,
    write_marketplace,
)
from recsys.data.pictures import toy_picture_uri, toy_svg
from recsys.data.purchases import Purchases, read_purchases
from recsys.data.report import Problem, ReadReport
from recsys.data.shop_files import read_shop, write_shop
from recsys.data.sparse_market import SparseHabits, sparse_market
from recsys.data.splits import Split, by_labels, leave_one_out, temporal
from recsys.data.synthetic import synthesize
from recsys.data.toy_motives import Habits

__all__ = [
    "Catalogue",
    "Habits",
    "Interactions",
    "Marketplace",
    "Problem",
    "Purchases",
    "ReadReport",
    "Shop",
    "SparseHabits",
    "Split",
    "by_labels",
    "convert_amazon",
    "describe",
    "leave_one_out",
    "read_catalogue",
    "read_marketplace",
    "read_purchases",
    "read_shop",
    "sparse_market",
    "synthesize",
    "temporal",
    "toy_picture_uri",
    "toy_svg",
    "write_catalogue",
    "write_marketplace",
    "write_shop",
]
