"""Inspection: describe the content of files and folders that omnidistill wrote, without executing anything in them."""

from omnidistill.experiments.inspection.findings import Finding, TensorFacts
from omnidistill.experiments.inspection.inspect import inspect

__all__ = ["Finding", "TensorFacts", "inspect"]
