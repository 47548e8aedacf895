"""What a file or folder of this program holds, told without running anything of it."""

from omnidistill.inspection.finding import Finding, TensorFacts
from omnidistill.inspection.opening import inspect

__all__ = ["Finding", "TensorFacts", "inspect"]
