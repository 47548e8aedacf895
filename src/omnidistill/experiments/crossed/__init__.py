"""Crossed tables: the recall for every combination of set, recipe and model.

Further tables show the recall with changed recipes and with mismatched training pairs.
"""

from omnidistill.experiments.crossed.crossed_result import CrossedTable
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, SetEntry
from omnidistill.experiments.crossed.run_crossed import crossed

__all__ = ["CrossedSettings", "CrossedTable", "SetEntry", "crossed"]
