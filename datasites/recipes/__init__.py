"""Recipes: remote code that merchants approve (a readable main.py each) and how to merge it."""

from datasites.errors import SettingsError
from datasites.recipes.base import Recipe

__all__ = ["Recipe", "recipe_named", "recipe_names"]


def recipe_names() -> list[str]:
    """Names of the recipes of this installation."""
    return ["private-als", "co-purchase", "neural"]


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
    raise SettingsError(
        f"expected a recipe of this installation ({', '.join(recipe_names())}), found '{name}'"
    )
