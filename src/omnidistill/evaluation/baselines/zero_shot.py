"""Zero-shot baseline: the initial heads without any training. Every student starts from these heads."""

from __future__ import annotations

from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.training.experts.epochs import stack_runs


@baselines.register("zero-shot")
class ZeroShot(Baseline):
    """The initial heads, untrained."""

    def fit(self, setting: Setting) -> TrainedHeads:
        """Return the initial heads unchanged."""
        return TrainedHeads("zero-shot heads", (stack_runs(setting.start, 1),), 0, 0.0, {})
