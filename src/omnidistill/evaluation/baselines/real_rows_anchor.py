"""Baselines that compute heads from real rows (float32) by the recipe "anchor": ridge regression to shared anchors.

Every run draws a new sample: N random training rows, or N random groups. Row i of the matrix X_m (N x p_m) contains the
features of modality m of the i-th row, or their mean over the rows of the i-th group. The target of row i, its anchor,
is the i-th unit vector in every modality. The heads are

    W_m = (K_m + lambda s_m I)^{-1} X_m        K_m = X_m X_m^T,  s_m = mean of the diagonal of K_m

All modalities and runs use the same ridge lambda. Validation chooses it with two further samples, which no run uses.

The method "anchor" uses the same recipe (`training.recipes.anchor_regression`) with learned rows. The baseline "random"
also uses real rows, but trains heads on them by InfoNCE.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from omnidistill.core.settings import Positive
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import LEAST_ROWS
from omnidistill.distillation.learnable import random_rows
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.distillation.shipped_bytes import planned_bytes
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import mean_score
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages import RowStorage
from omnidistill.training.experts.epochs import StackedHeads
from omnidistill.training.recipes.anchor_regression import Anchor, heads_of_rows

_TUNING_SAMPLES = 2


class RealRowsAnchor(Baseline):
    """Base class of baselines that use ridge regression from real rows to anchors.

    Anchors are targets that are the same for all modalities.
    """

    sized: ClassVar[bool] = True
    needs_start: ClassVar[bool] = False
    stores_heads: ClassVar[bool] = True
    title: ClassVar[str]
    """Kind of real rows that the baseline uses, such as "group means". It is part of the label in tables."""

    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate ridges of the regression from rows to anchors, relative to the mean squared length of the rows; chosen
    on validation."""

    @abstractmethod
    def rows(self, train: FeatureSet, size: int, generator: torch.Generator) -> dict[str, Float[Tensor, "_ _"]]:
        """Return a random sample {modality: size x p_m}: `size` training rows, or the means of `size` groups of rows.

        If there are fewer than `size` groups, the sample contains the means of all groups.
        """

    def applies(self, setting: Setting) -> bool:
        """Return whether the baseline may store at least 2 rows, the minimum size of a set."""
        assert setting.allowance is not None
        return setting.allowance.rows >= LEAST_ROWS

    def fit(self, setting: Setting) -> TrainedHeads:
        """Choose the ridge on validation, then compute the heads of each run from a new random sample of rows.

        For the choice, every candidate ridge is scored with the same two samples of rows.
        """
        started_at, train, evaluate = time.monotonic(), setting.data.train, setting.evaluate
        tuning = self._samples(setting, f"{self.kind}/tune", _TUNING_SAMPLES)
        scores = {ridge: mean_score(_solved(tuning, ridge), setting.data.validation) for ridge in self.ridges}
        ridge = max(scores, key=lambda each: scores[each])
        runs = _solved(self._samples(setting, self.kind, evaluate.num_seeds), ridge)
        num_rows = next(iter(runs.values())).shape[1]
        recipe = Anchor(ridges=(ridge,) * len(train.widths))
        spec = SetSpec(dict(train.widths), num_rows, RowStorage(), FixedIdentity(), InfoNCE(), recipe)
        num_bytes, seconds = planned_bytes(spec, train.preprocessing), time.monotonic() - started_at
        label = f"{self.title}, {num_rows} rows, recipe anchor"
        return TrainedHeads(label, (runs,), num_bytes, seconds, {"ridge": ridge, "rows": num_rows}, len(scores))

    def _samples(self, setting: Setting, purpose: str, count: int) -> list[dict[str, Float[Tensor, "_ _"]]]:
        assert setting.allowance is not None
        streams, size = Streams(setting.seed), setting.allowance.rows
        return [self.rows(setting.data.train, size, streams[f"{purpose}/{run}"]) for run in range(count)]


def _solved(samples: Sequence[dict[str, Float[Tensor, "_ _"]]], ridge: float) -> StackedHeads:
    """Return the heads computed from each sample of rows, stacked to {modality: samples x N x p_m}."""
    heads = [heads_of_rows(rows, [ridge] * len(rows)) for rows in samples]
    return {name: torch.stack([run[name] for run in heads]) for name in samples[0]}


@baselines.register("random-anchor")
class RandomAnchor(RealRowsAnchor):
    """Ridge regression from random real rows to anchors. Anchors are targets that all modalities share."""

    title: ClassVar[str] = "random"

    def rows(self, train: FeatureSet, size: int, generator: torch.Generator) -> dict[str, Float[Tensor, "_ _"]]:
        """Return random training rows, from distinct groups if there are enough groups.

        Raises:
            InputError: `size` exceeds the number of training rows.
        """
        return random_rows(train, size, generator).features


@baselines.register("group-means-anchor")
class GroupMeansAnchor(RealRowsAnchor):
    """Ridge regression from the means of random groups of rows to targets that are the same for all modalities."""

    title: ClassVar[str] = "group means"

    def rows(self, train: FeatureSet, size: int, generator: torch.Generator) -> dict[str, Float[Tensor, "_ _"]]:
        """Choose `size` random groups, or all if there are fewer, and return the mean of the rows of each group."""
        codes = train.group_codes
        counts = torch.bincount(codes)
        chosen = torch.randperm(len(counts), generator=generator, device="cpu")[:size].to(train.device)
        means = {}
        for name, x in train.features.items():
            totals = x.new_zeros(len(counts), x.shape[1]).index_add_(0, codes, x)
            means[name] = totals[chosen] / counts[chosen].unsqueeze(1)
        return means
