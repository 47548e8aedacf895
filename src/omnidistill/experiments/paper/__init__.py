"""Compute the tables of the HoPA paper on given features, and show our numbers next to those that the paper prints."""

from omnidistill.experiments.paper.paper_result import PaperTables
from omnidistill.experiments.paper.run_paper import paper

__all__ = ["PaperTables", "paper"]
