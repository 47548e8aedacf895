"""Training data in which a share of the groups is paired wrongly: their rows of one modality belong to other groups."""

from __future__ import annotations

from dataclasses import replace

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet


def mismatched(data: FeatureSet, share: float, seed: int) -> FeatureSet:
    """Return the data with a share of the training groups mismatched in the last modality; other splits are unchanged.

    The rows of the affected groups are sorted by group, in a random order of groups, and shifted by the size of the
    largest group. So a row receives the features of another group, unless the affected groups are very unequal in size.

    Args:
        data: the data, with a split "train".
        share: share of the training groups to mismatch, in [0, 1]; fewer than two groups change nothing.
        seed: seed for the choice of groups.

    Raises:
        InputError: the data have a matrix of pairings, which defines no groups to mismatch.
    """
    if data.pairing is not None:
        raise InputError("mismatched pairs: the data pair rows by a matrix; only data with groups can be mismatched")
    rows_of: dict[str, list[int]] = {}
    for row, (group, split) in enumerate(zip(data.groups, data.splits, strict=True)):
        if split == "train":
            rows_of.setdefault(group, []).append(row)
    groups = list(rows_of)
    order = torch.randperm(len(groups), generator=Streams(seed)["crossed/mismatch"], device="cpu").tolist()
    chosen = [rows_of[groups[number]] for number in order[: round(share * len(groups))]]
    if len(chosen) < 2:
        return data
    rows = torch.tensor([row for each in chosen for row in each], device=data.device)
    name = data.modalities[-1]
    features = data.features[name].clone()
    features[rows] = data.features[name][rows.roll(max(len(each) for each in chosen))]
    return replace(data, features={**data.features, name: features}, location=None)
