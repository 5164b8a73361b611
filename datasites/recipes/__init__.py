"""Recipes: remote code that merchants approve (a readable main.py each) and how to merge it."""

from datasites.errors import SettingsError
from datasites.recipes.base import Recipe

__all__ = ["Recipe", "keeps_releases", "recipe_named", "recipe_names"]

_NO_RELEASES_NEEDED = frozenset({"private-als", "neural", "custom"})


def recipe_names() -> list[str]:
    """Names of the recipes of this installation."""
    return ["private-als", "co-purchase", "neural", "custom"]


def recipe_named(name: str) -> Recipe:
    """The recipe of that name. Raises SettingsError that lists what there is."""
    if name == "private-als":
        from datasites.recipes.private_als.recipe import PrivateALSRecipe

        return PrivateALSRecipe()
    if name == "co-purchase":
        from datasites.recipes.co_purchase.recipe import CoPurchaseRecipe

        return CoPurchaseRecipe()
    if name == "neural":
        from datasites.recipes.neural.recipe import NeuralRecipe

        return NeuralRecipe()
    if name == "custom":
        from datasites.recipes.custom.recipe import CustomRecipe

        return CustomRecipe()
    raise SettingsError(
        f"expected a recipe of this installation ({', '.join(recipe_names())}), found '{name}'"
    )


def keeps_releases(name: str) -> bool:
    """Whether a merchant still needs its own releases once the model is there.

    The same as `recipe_named(name).takes_out_own`, and True for a recipe that is not known, but
    without loading any recipe: the service asks, which stays small.
    """
    return name not in _NO_RELEASES_NEEDED
