"""What a shop page asks for: toys for a basket, filtered, each with a reason that is true."""

from recsys.serving.filters import Filters
from recsys.serving.shelf import Shelf, Suggestion

__all__ = ["Filters", "Shelf", "Suggestion"]
