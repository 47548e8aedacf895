"""Crossed tables: every set with every recipe and every model, and how robust the sets are."""

from omnidistill.experiments.crossed.crossed import crossed
from omnidistill.experiments.crossed.result import CrossedTable
from omnidistill.experiments.crossed.settings import CrossedSettings, SetEntry

__all__ = ["CrossedSettings", "CrossedTable", "SetEntry", "crossed"]
