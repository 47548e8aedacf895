"""Training data with mismatched pairs: some rows get the features of another group in one modality."""

from __future__ import annotations

from dataclasses import replace

import torch

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet


def mismatched(data: FeatureSet, share: float, seed: int) -> FeatureSet:
    """Return a copy of the data in which a share of the training groups is mismatched. Other splits are unchanged.

    The features of the last modality are permuted among the rows of randomly chosen groups. To do so, the rows are
    listed group by group and shifted cyclically by the size of the largest group. Every row then has the features of
    another group, unless the groups have very different sizes.

    Args:
        data: the data, with a split "train".
        share: share of the training groups to mismatch, in [0, 1]. If the share amounts to fewer than two groups, the
            data are returned unchanged.
        seed: seed for the choice of groups.

    Raises:
        InputError: positive pairs are defined by a matrix instead of groups.
    """
    if data.pairing is not None:
        raise InputError(
            "part 'mismatch': mismatched pairs are made from groups, but these data have a matrix of positives instead "
            "of groups; pass data with groups, or omit this part"
        )
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
