"""Heads trained on all rows by InfoNCE from the ridge CCA heads instead of the initial heads.

    W_m <- (s_m(W_0) / s_m(CCA)) W_m(CCA),    b_m likewise,    s_m(W) = mean of ||W_m x + b_m|| over the training rows

The scale of CCA heads differs from that of the initial heads, and the effect of a step depends on the scale. With this
factor, which changes no cosine, the step sizes of the protocol have the same effect from either start. The bias of the
CCA heads is not trained; it is zero if the features are centred.

Shapes: d embedding width, p_m feature width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from omnidistill.core.device import device_of, moved
from omnidistill.evaluation.baselines.all_rows import train_on_all_rows
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.baselines.output_norms import mean_output_norms
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of
from omnidistill.models.objectives import InfoNCE


@baselines.register("cca-infonce")
class CcaInfonce(Baseline):
    """Heads trained on all rows by InfoNCE, starting from the ridge CCA heads."""

    needs: ClassVar[tuple[str, ...]] = ("cca",)
    stores_heads: ClassVar[bool] = True

    def fit(self, setting: Setting) -> TrainedHeads:
        """Scale the CCA heads, then train them by InfoNCE; step size and epochs are chosen on validation."""
        cca, features, device = setting.fitted["cca"], setting.data.train.features, device_of(setting.start)
        assert cca.bias is not None
        heads, bias = moved(run_of(cca.heads, 0), device), moved(cca.bias, device)
        norms, target = mean_output_norms(heads, features, bias), mean_output_norms(setting.start, features)
        scales = {name: target[name] / norms[name] for name in heads}
        trained = train_on_all_rows(
            InfoNCE(tau=setting.evaluate.tau),
            "all rows, InfoNCE from CCA",
            setting,
            {name: scales[name] * matrix for name, matrix in heads.items()},
            {name: scales[name] * shift for name, shift in bias.items()},
            self.kind,
        )
        return replace(
            trained,
            seconds=cca.seconds + trained.seconds,
            settings={**trained.settings, "cca": dict(cca.settings)},
            num_evaluated=cca.num_evaluated + trained.num_evaluated,
        )
