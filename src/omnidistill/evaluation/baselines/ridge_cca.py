"""Baseline: ridge CCA heads with bias, computed from all rows in closed form.

Validation chooses the ridge and the row pairing. The pairing determines which rows of two modalities are combined in
the cross-covariance: all rows of the same group, or only rows with the same number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from omnidistill.core.device import moved
from omnidistill.core.json_value import Json
from omnidistill.core.settings import Positive
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.shipped_bytes import heads_bytes
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import validation_score
from omnidistill.models.heads import Heads
from omnidistill.training.closed_form import Pairing, accumulate_moments, ridge_cca_heads
from omnidistill.training.experts.epochs import stack_runs


@baselines.register("cca")
class RidgeCca(Baseline):
    """Ridge CCA heads, computed from all rows in closed form.

    The embedding width is that of the initial heads, but at most the smallest feature width.
    """

    cites: ClassVar[tuple[str, ...]] = ()
    needs_start: ClassVar[bool] = False
    stores_heads: ClassVar[bool] = True

    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate ridges of CCA, relative to the mean eigenvalue of each covariance; chosen on validation."""

    def fit(self, setting: Setting) -> TrainedHeads:
        """Compute CCA heads for every candidate ridge and row pairing; return those with the best validation score.

        Rows of two modalities are paired by row number or by group.
        """
        started_at, train = time.monotonic(), setting.data.train
        widths = {name: matrix.shape[1] for name, matrix in setting.start.items()}
        rank = min(next(iter(setting.start.values())).shape[0], *widths.values())
        best, num_evaluated = None, 0
        for heads, bias, settings in cca_candidates(train, rank, self.ridges):
            score, num_evaluated = validation_score(heads, setting.data.validation, bias), num_evaluated + 1
            if best is None or score > best[0]:
                best = score, heads, bias, settings
        assert best is not None
        _, heads, bias, settings = best
        stored = {f"head/{name}": matrix for name, matrix in heads.items()}
        stored |= {f"bias/{name}": each for name, each in bias.items()}
        num_bytes = heads_bytes(stored, replace(train.preprocessing, means={}))  # the biases include the means
        seconds = time.monotonic() - started_at
        label = "ridge CCA heads, all rows"
        return TrainedHeads(label, (stack_runs(heads, 1),), num_bytes, seconds, settings, num_evaluated, bias)


def cca_candidates(
    train: FeatureSet, rank: int, ridges: Sequence[float]
) -> Iterator[tuple[Heads, dict[str, Float[Tensor, " _"]], dict[str, Json]]]:
    """Yield ridge CCA heads (rank x p_m), their biases (rank) and their settings, for every row pairing and ridge.

    In the cross-covariances, rows of two modalities are paired either by group (each row with all rows of its group)
    or by row number. If `train.pairing` is given, they are paired only by row number.

    Args:
        train: all training rows.
        rank: output width of the heads.
        ridges: ridges, as multiples of the mean eigenvalue of each covariance.
    """
    pairings: tuple[Pairing, ...] = ("groups", "rows") if train.pairing is None else ("rows",)
    for pairing in pairings:
        moments = accumulate_moments(train, pairing)
        for ridge in ridges:
            heads, bias = (moved(part, train.device) for part in ridge_cca_heads(moments, rank, ridge))
            yield heads, bias, {"ridge": ridge, "pairing": pairing, "rank": rank}
