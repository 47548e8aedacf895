"""Recipes: how models are trained on a synthetic set. Each recipe has its own file; `recipes` lists them by name."""

from omnidistill.training.recipes.recipe import AnyRecipe, Recipe, TrainingRows, recipes
from omnidistill.training.recipes.sgd import Sgd

__all__ = ["AnyRecipe", "Recipe", "Sgd", "TrainingRows", "recipes"]
