"""Heads trained on all rows by InfoNCE, starting from the ridge CCA heads instead of the initial heads.

The effect of a training step depends on the scale of the heads. The CCA heads are therefore first brought to the scale
of the initial heads. For modality m, let V_m (d x p_m) and b_m (d) be the CCA head and its bias, and U_m the initial
head. V_m and b_m are multiplied by

    c_m = (mean of ||U_m x||) / (mean of ||V_m x + b_m||)        means over the training rows x

The outputs then have the same mean length as those of the initial heads, so the same step sizes suit both. The factor
changes no cosine similarity. The bias is not trained; it is zero if the features are centred.

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
        """Rescale the CCA heads, then train them by InfoNCE. Step size and epochs are chosen on validation."""
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
