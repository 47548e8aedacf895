"""Comparisons: one set per method, size and seed, all distilled and scored in the same way, and the resulting table."""

from omnidistill.experiments.comparison.compare import compare
from omnidistill.experiments.comparison.compared import Compared
from omnidistill.experiments.comparison.plan import Cell, plan_cells

__all__ = ["Cell", "Compared", "compare", "plan_cells"]
