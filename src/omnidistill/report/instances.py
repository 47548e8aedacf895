"""Showing synthetic rows: the nearest real training item of each, modality by modality, by cosine of the features."""

from __future__ import annotations

from collections.abc import Callable

import torch

from omnidistill.distill import DistilledSet
from omnidistill.features.featureset import FeatureSet
from omnidistill.report.page import Instance, Neighbour

Describe = Callable[[int, str], tuple[str, bytes | None]]
"""(training row, modality) -> caption and picture (PNG bytes, or None)."""


def nearest_instances(distilled: DistilledSet, train: FeatureSet, describe: Describe) -> list[Instance]:
    """One instance per stored row, with its nearest training row in every modality."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    size = distilled.size
    for name, views in distilled.rows().items():
        rows = views[:size]
        cosines = (
            torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(train.features[name], dim=1).T
        )
        best = cosines.max(dim=1)
        found[name] = (best.indices.tolist(), best.values.tolist())
    return [
        Instance(
            index,
            None,
            {
                name: Neighbour(train.groups[rows[index]], *describe(rows[index], name), cosine[index])
                for name, (rows, cosine) in found.items()
            },
        )
        for index in range(size)
    ]
