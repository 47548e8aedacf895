"""Recipes: how a model is trained on a synthetic set; `recipes` lists them by name."""

from omnidistill.training.recipes.recipe import AnyRecipe, Recipe, recipes
from omnidistill.training.recipes.sgd import Sgd

__all__ = ["AnyRecipe", "Recipe", "Sgd", "recipes"]
