"""Recommenders under one contract: what each knows differs, how each is asked does not."""

from recsys.models.base import Recommendations, Recommender
from recsys.models.blend import Blend, Explanation
from recsys.models.blend_weights import WeightSearch
from recsys.models.content import ContentSimilarity
from recsys.models.embeddings import SharedEmbeddings
from recsys.models.local import LocalALS
from recsys.models.neighbours import ItemNeighbours
from recsys.models.neural.model import TwoTower
from recsys.models.popularity import Popularity

__all__ = [
    "Blend",
    "ContentSimilarity",
    "Explanation",
    "ItemNeighbours",
    "LocalALS",
    "Popularity",
    "Recommendations",
    "Recommender",
    "SharedEmbeddings",
    "TwoTower",
    "WeightSearch",
]
