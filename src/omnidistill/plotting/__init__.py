"""Figures for papers, drawn with matplotlib from the content of runs and tables. Each kind of figure is one file."""

from omnidistill.plotting.draw import COLUMN_WIDTH, MEASURES, draw
from omnidistill.plotting.plottable import Plottable
from omnidistill.plotting.plotted_run import PlottedRun, Source

__all__ = ["COLUMN_WIDTH", "MEASURES", "Plottable", "PlottedRun", "Source", "draw"]
