"""Planted items with the features of two encoders, and small sets of the first; shared by the tests of transfer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch

from omnidistill.data.featureset import FeatureSet, prepare
from omnidistill.data.planted import planted
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.run import DistillResult, distill
from omnidistill.experiments.transfer import TransferSettings
from small_runs import ROWS, widths

SIZE = 6
FEW = ("heads.width=8", "heads.num_epochs=2", "distill.iterations=4", "distill.validate_every=2")
FAST = TransferSettings(
    evaluate=EvaluateConfig(num_seeds=2, max_epochs=2, learning_rates=(1.0,)),
    ridges=(0.1, 1.0),
    learning_rates=(1.0,),
    max_steps=8,
)


@cache
def old() -> FeatureSet:
    """The items by the first encoder, two rows per group."""
    return prepare(planted(widths(3), ROWS, latent=6, positives_per_group=2))


@cache
def new() -> FeatureSet:
    """The same items by a second encoder: a nonlinear function of the first, with other widths."""
    raw = planted(widths(3), ROWS, latent=6, positives_per_group=2)
    draw = torch.Generator().manual_seed(1)
    features = {
        name: torch.tanh(x.float() @ torch.randn(x.shape[1], x.shape[1] + 3, generator=draw) / 3)
        for name, x in raw.features.items()
    }
    return prepare(replace(raw, features=features))


@cache
def result(preset: str = "anchor", *settings: str, seed: int = 0) -> DistillResult:
    """A set of the first encoder; do not change it."""
    return distill(old(), preset=preset, size=SIZE, settings=(*FEW, *settings), seed=seed, device="cpu", progress=False)


def without_rows(data: FeatureSet, ids: set[str]) -> FeatureSet:
    """Return the data without the rows with these ids."""
    return data.select([row for row, name in enumerate(data.ids) if name not in ids])


def training_ids(data: FeatureSet) -> list[str]:
    """Return the ids of the training rows."""
    return [name for name, split in zip(data.ids, data.splits, strict=True) if split == "train"]
