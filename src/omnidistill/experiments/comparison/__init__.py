"""Comparing methods: one set for every method, size and seed, made and scored alike, and the tables from them."""

from omnidistill.experiments.comparison.compare import Compared, compare
from omnidistill.experiments.comparison.plan import Cell, plan_cells

__all__ = ["Cell", "Compared", "compare", "plan_cells"]
