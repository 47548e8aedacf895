"""Test whether training improves the validation score at all; if it does not, a long run is a waste of time.

    d_i     = mean over directions and K = 1, 5, 10 of  [hit after] - [hit before]                    for row i of V
    gain    = mean_i d_i                                the difference of two validation scores, on the same rows
    error^2 = (sum_g (sum_{i in g} (d_i - gain))^2) / V^2 + 1 / G^2                 over the G groups g of rows

The last term of the error is the effect of one additional group whose hits all change, so the error is not 0 if no row
is a hit. There is *no gain* if the gain is at most two errors above 0, and the gain plus two errors is at most two
points (0.02). A small gain with a large error is not enough: the split must be large enough (at least 100 groups) to
exclude a relevant gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.retrieval import hits, ranks_by_direction
from omnidistill.evaluation.validation import run_of, validated_students
from omnidistill.models.heads import Heads, embed
from omnidistill.training.experts import ExpertBuffer

_ERRORS = 2.0
_MATTERS = 0.02


@dataclass(frozen=True)
class Gain:
    """Difference of two validation scores and its standard error, as fractions (0.01 is one point)."""

    mean: float
    error: float

    @property
    def is_nothing(self) -> bool:
        """Whether the gain cannot be distinguished from 0, and a relevant gain can be excluded."""
        return self.mean <= _ERRORS * self.error and self.mean + _ERRORS * self.error <= _MATTERS

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ± {100 * self.error:.1f} points"


def gain_of(after: Float[Tensor, " V"], before: Float[Tensor, " V"], codes: Int[Tensor, " V"]) -> Gain:
    """Return the gain between two results of `row_hits`; codes: group of each row, 0 to G - 1, no group empty."""
    difference, codes, num_groups = after - before, codes.to(after.device), int(codes.max()) + 1
    sums = difference.new_zeros(num_groups).index_add(0, codes, difference - difference.mean())
    error = float((sums.square().sum() / len(codes) ** 2 + 1 / num_groups**2).sqrt())
    return Gain(float(difference.mean()), error)


def row_hits(heads: Heads, validation: FeatureSet) -> Float[Tensor, " V"]:
    """Return, for each row, the share of directions and cut-offs with a hit, in [0, 1]; their mean is the score."""
    return hits(ranks_by_direction(embed(heads, validation.features), validation.group_codes)).mean(1)


def experts_gain_nothing(buffer: ExpertBuffer, start: Heads, validation: FeatureSet) -> str | None:
    """Return a note if no epoch of any expert that starts from these heads has a gain; None if one may have."""
    experts = buffer.own_experts
    epochs = range(buffer.last_epochs[experts[0]], 0, -1)
    snapshots = (moved(buffer.heads(expert, epoch), validation.device) for epoch in epochs for expert in experts)
    best = _best_of_nothing((row_hits(heads, validation) for heads in snapshots), start, validation)
    return (
        best and f"nothing to gain: training on all rows ({len(experts)} experts) changes validation by {best} at best"
    )


def students_gain_nothing(distilled: DistilledSet, start: Heads, validation: FeatureSet) -> str | None:
    """Return a note if students trained on the set by its recipe have no gain; None if they may have one."""
    students = validated_students(distilled, start, [distilled.recipe.num_steps])
    after = (_mean_hits(heads, validation) for _, heads in students)
    best = _best_of_nothing(after, start, validation)
    return best and f"nothing to gain: students of the best set so far change validation by {best}"


def _best_of_nothing(hits_after: Iterable[Tensor], start: Heads, validation: FeatureSet) -> str | None:
    """Return the largest gain as text if there is no gain in any of them, else None; stops at the first gain."""
    best, before = None, row_hits(start, validation)
    for after in hits_after:
        gain = gain_of(after, before, validation.group_codes)
        if not gain.is_nothing:
            return None
        best = gain if best is None or gain.mean > best.mean else best
    return str(best) if best else None


def _mean_hits(runs: Mapping[str, Float[Tensor, "R _ _"]], validation: FeatureSet) -> Float[Tensor, " V"]:
    num_runs = len(next(iter(runs.values())))
    return torch.stack([row_hits(run_of(runs, run), validation) for run in range(num_runs)]).mean(0)
