"""Crossed tables: every set with every recipe and every model, and how robust the sets are."""

from omnidistill.experiments.crossed.crossed_result import CrossedTable
from omnidistill.experiments.crossed.crossed_settings import CrossedSettings, SetEntry
from omnidistill.experiments.crossed.run_crossed import crossed

__all__ = ["CrossedSettings", "CrossedTable", "SetEntry", "crossed"]
