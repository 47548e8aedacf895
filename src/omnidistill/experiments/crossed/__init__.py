"""Crossed tables: recall of every set with every recipe and model, with changed recipes, and with mismatched pairs."""

from omnidistill.experiments.crossed.crossed_result import CrossedTable
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, SetEntry
from omnidistill.experiments.crossed.run_crossed import crossed

__all__ = ["CrossedSettings", "CrossedTable", "SetEntry", "crossed"]
