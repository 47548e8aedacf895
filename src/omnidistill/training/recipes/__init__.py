"""Recipes: how students are trained on a synthetic set. Each recipe has its own file; `recipes` lists them by name."""

from omnidistill.training.recipes.recipe import AnyRecipe, Recipe, recipes
from omnidistill.training.recipes.sgd import Sgd

__all__ = ["AnyRecipe", "Recipe", "Sgd", "recipes"]
