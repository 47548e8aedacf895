"""What a file or folder of this program holds, told without running anything of it."""

from omnidistill.experiments.inspection.findings import Finding, TensorFacts
from omnidistill.experiments.inspection.inspect import inspect

__all__ = ["Finding", "TensorFacts", "inspect"]
