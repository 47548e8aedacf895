"""Heads of another baseline stacked on the initial heads: an embedding is the concatenation of both outputs.

For modality m, let W_m (d x p_m) be the initial head, and V_m (k x p_m) and b_m (k) the head and bias of the other
baseline. Let r_m and s_m be the mean lengths of the outputs W_m x and V_m x + b_m on the training rows. The stacked
output for features x is

    [ sqrt(a) / s_m (V_m x + b_m) ; sqrt(1 - a) / r_m W_m x ]        k + d numbers

The weight a in [0, 1] of the other baseline is chosen on validation. The similarity of an item with features x in
modality m and an item with features y in modality n is the weighted sum

    a / (s_m s_n) <V_m x + b_m, V_n y + b_n>  +  (1 - a) / (r_m r_n) <W_m x, W_n y>

With a = 0, items are ranked as by the initial heads; with a = 1, they are ranked as by the other baseline.

For each NAME in `STACKED`, there is a baseline NAME-stacked. Stacking involves no training, so the initial heads keep
what they learned from other data.

Reference: late fusion (Kittler et al., 1998, "On combining classifiers").
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
from omnidistill.evaluation.baselines.baseline import STACKED, Baseline, Setting, baselines
from omnidistill.evaluation.baselines.output_norms import factor_bytes, mean_output_norms
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import run_of, validation_score
from omnidistill.models.heads import Heads

Weight = Annotated[float, Field(ge=0, le=1)]
Bias = Mapping[str, Float[Tensor, " _"]] | None


class Stacked(Baseline):
    """Heads of another baseline stacked on the initial heads: the outputs of both are weighted and concatenated.

    The weight is chosen on validation.
    """

    upper: ClassVar[str]
    """Name of the baseline whose trained heads are stacked on the initial heads."""

    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Candidate weights, in [0, 1], of the heads that are stacked on the initial heads; chosen on validation. All runs
    use the same weight."""

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline `upper`, whose heads are stacked on the initial heads, applies here."""
        return baselines.build(self.upper).applies(setting)

    def fit(self, setting: Setting) -> TrainedHeads:
        """Stack the heads of the baseline `upper` on the initial heads, i.e. concatenate the outputs of both.

        Of the candidate weights for the heads of `upper`, use the one with the highest validation score.
        """
        started_at, upper, start = time.monotonic(), setting.fitted[self.upper], setting.start
        features, validation = setting.data.train.features, setting.data.validation
        lower = _scaled(start, mean_output_norms(start, features))
        parts = [_normalised(upper, run, setting) for run in range(upper.num_runs)]
        best = None
        for weight in self.weights:
            runs = [stack_heads(heads, lower, weight, bias) for heads, bias in parts]
            score = sum(validation_score(heads, validation, bias) for heads, bias in runs) / len(runs)
            if best is None or score > best[0]:
                best = score, weight, runs
        assert best is not None
        _, weight, runs = best
        return TrainedHeads(
            _LABELS.get(self.upper, f"{upper.label} + initial heads"),
            ({name: torch.stack([heads[name] for heads, _ in runs]) for name in start},),
            upper.bytes + factor_bytes(start),
            upper.seconds + time.monotonic() - started_at,
            {"weight": weight, self.upper: dict(upper.settings)},
            upper.num_evaluated + len(self.weights),
            runs[0][1],
        )


def stack_heads(upper: Heads, lower: Heads, weight: float, bias: Bias = None) -> tuple[Heads, Bias]:
    """Return the stacked heads [sqrt(weight) upper; sqrt(1 - weight) lower] and their biases.

    Args:
        upper: heads {modality: k x p_m} whose outputs have a mean length of 1.
        lower: heads {modality: d x p_m} whose outputs have a mean length of 1.
        weight: weight of the upper heads, in [0, 1].
        bias: biases {modality: k} of the upper heads; None means zero. The lower heads have zero bias.
    """
    above, below = math.sqrt(weight), math.sqrt(1 - weight)
    heads = {name: torch.cat([above * matrix, below * lower[name]]) for name, matrix in upper.items()}
    if bias is None:
        return heads, None
    return heads, {name: torch.cat([above * bias[name], bias[name].new_zeros(len(lower[name]))]) for name in upper}


def _normalised(row: TrainedHeads, run: int, setting: Setting) -> tuple[Heads, Bias]:
    """Return the heads and biases of one run, scaled so that their outputs have a mean length of 1.

    `row` is the result of a baseline. If it has biases, it must have exactly one run.
    """
    assert row.bias is None or row.num_runs == 1
    device = device_of(setting.start)
    heads, bias = moved(run_of(row.heads, run), device), None if row.bias is None else moved(row.bias, device)
    norms = mean_output_norms(heads, setting.data.train.features, bias)
    return _scaled(heads, norms), None if bias is None else _scaled(bias, norms)


def _scaled(tensors: Mapping[str, Tensor], norms: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: tensor / norms[name] for name, tensor in tensors.items()}


def _stacked_class(upper: str) -> type[Stacked]:
    """Create the class of the baseline that stacks the heads of the baseline `upper` on the initial heads."""
    content = {
        "__module__": __name__,
        "__doc__": f"Heads of the baseline '{upper}' stacked on the initial heads, with a weight chosen on validation.",
        "upper": upper,
        "needs": (upper,),
        "sized": baselines.get(upper).sized,
        "uses_bytes": baselines.get(upper).uses_bytes,
        "stores_heads": upper == "cca",  # `best` is computed from them
    }
    return type("".join(part.capitalize() for part in upper.split("-")) + "Stacked", (Stacked,), content)


_LABELS = {"cca": "all rows, CCA + initial heads"}

for _name in STACKED:
    _class = _stacked_class(_name)
    globals()[_class.__name__] = _class  # where pickle looks for it
    baselines.register(f"{_name}-stacked")(_class)
