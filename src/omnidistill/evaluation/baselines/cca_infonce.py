"""Heads trained on all rows by InfoNCE from the ridge CCA heads instead of the initial heads.

    W_m <- c_m V_m,    b_m <- c_m b_m,    c_m = (mean of ||U_m x||) / (mean of ||V_m x + b_m||)

V_m (d x p_m) and b_m (d) are the ridge CCA head of modality m and its bias, U_m is the initial head, and W_m is the
head from which training starts. Means are over the training rows x. d is the embedding width, p_m the feature width.

CCA heads and initial heads have different scales, and the effect of a training step depends on the scale. After the
multiplication by c_m, the outputs of both have the same mean length, so the step sizes of the protocol suit both. The
factor changes no cosine similarity. The bias of the CCA heads is not trained; it is zero if the features are centred.
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
