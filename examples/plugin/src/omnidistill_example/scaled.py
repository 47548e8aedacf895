"""The initial heads times a factor: scores exactly like them, since cosines do not depend on the length."""

from __future__ import annotations

import omnidistill as od
from omnidistill.core.settings import Positive
from omnidistill.evaluation.baselines import Setting
from omnidistill.evaluation.trained_heads import TrainedHeads


class Scaled(od.Baseline):
    """The initial heads times a factor, untrained."""

    factor: Positive = 1.0
    """What every head is multiplied by."""

    def fit(self, setting: Setting) -> TrainedHeads:
        """Return the heads, one run."""
        heads = {name: (self.factor * matrix).unsqueeze(0) for name, matrix in setting.start.items()}
        num_bytes = sum(4 * matrix.numel() for matrix in setting.start.values())
        return TrainedHeads(f"initial heads times {self.factor:g}", (heads,), num_bytes, 0.0, {"factor": self.factor})
