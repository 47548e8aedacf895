"""Ridge CCA heads stacked on the initial heads: an embedding is the concatenation of both outputs.

    J_m = [ sqrt(a) / s_m V_m ; sqrt(1 - a) / r_m W_m ]        (k + d) x p_m
    s_m = mean of ||V_m x + b_m||,  r_m = mean of ||W_m x||     over the training rows

J_m is the stacked head of modality m. V_m (k x p_m) and b_m (k) are its ridge CCA head and bias, W_m (d x p_m) is its
initial head, and p_m is the feature width. The weight a in [0, 1] is chosen on validation. The outputs of both parts
are divided by their mean length before they are weighted. The similarity of two items with features x and y is

    <J_m x, J_n y> = a / (s_m s_n) <V_m x + b_m, V_n y + b_n> + (1 - a) / (r_m r_n) <W_m x, W_n y>

(the bias of J_m is omitted on the left). At a = 0 items are ranked as by the initial heads, at a = 1 as by the CCA
heads. The mean lengths s_m and r_m are constants, so J_m is an ordinary linear head with a bias.

Reference: combining the outputs of models is late fusion (Kittler et al., 1998, "On combining classifiers"). Stacking
involves no training, so the initial heads keep what they learned from other data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from omnidistill.core.device import device_of, moved
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.baselines.output_norms import mean_output_norms
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads
from omnidistill.training.experts.epochs import stack_runs

Weight = Annotated[float, Field(ge=0, le=1)]


@baselines.register("cca-stacked")
class CcaStacked(Baseline):
    """Ridge CCA heads stacked on the initial heads, with a weight chosen on validation."""

    needs: ClassVar[tuple[str, ...]] = ("cca",)
    stores_heads: ClassVar[bool] = True

    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Weights of the CCA part that validation chooses from, in [0, 1]."""

    def fit(self, setting: Setting) -> TrainedHeads:
        """Stack the heads with each weight, and return the stacked heads with the highest validation score."""
        started_at, cca, start = time.monotonic(), setting.fitted["cca"], setting.start
        assert cca.bias is not None
        heads, bias = moved(run_of(cca.heads, 0), device_of(start)), moved(cca.bias, device_of(start))
        features, best = setting.data.train.features, None
        norms, start_norms = mean_output_norms(heads, features, bias), mean_output_norms(start, features)
        for weight in self.weights:
            stacked = stack_heads(_scaled(heads, norms), _scaled(start, start_norms), weight, _scaled(bias, norms))
            score = validation_score(stacked[0], setting.data.validation, stacked[1])
            if best is None or score > best[0]:
                best = score, weight, *stacked
        assert best is not None
        _, weight, heads, bias = best
        return TrainedHeads(
            "all rows, CCA + initial heads",
            (stack_runs(heads, 1),),
            cca.bytes + 4 * len(start),  # the initial heads are known, and need one factor per modality
            cca.seconds + time.monotonic() - started_at,
            {"weight": weight, "cca": dict(cca.settings)},
            cca.num_evaluated + len(self.weights),
            bias,
        )


def stack_heads(
    upper: Heads, lower: Heads, weight: float, bias: Mapping[str, Float[Tensor, " _"]]
) -> tuple[Heads, dict[str, Float[Tensor, " _"]]]:
    """Return the stacked heads [sqrt(weight) upper; sqrt(1 - weight) lower] and their biases.

    Args:
        upper: {modality: k x p_m}, with outputs of mean length 1.
        lower: {modality: d x p_m}, with outputs of mean length 1.
        weight: weight of the upper part, in [0, 1].
        bias: {modality: k}, the biases of the upper part. The lower part has zero bias.
    """
    above, below = math.sqrt(weight), math.sqrt(1 - weight)
    heads = {name: torch.cat([above * matrix, below * lower[name]]) for name, matrix in upper.items()}
    return heads, {name: torch.cat([above * bias[name], bias[name].new_zeros(len(lower[name]))]) for name in upper}


def _scaled(tensors: Mapping[str, Tensor], norms: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: tensor / norms[name] for name, tensor in tensors.items()}
