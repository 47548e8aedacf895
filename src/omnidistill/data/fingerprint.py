"""Fingerprints of feature sets: the sha256 of the features, ids, groups and splits of their rows.

A fingerprint identifies the data used for training and model selection, so it excludes the test split by default. It is
computed once per feature set and then cached, because the rows of a `FeatureSet` never change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from omnidistill.data.featureset import FeatureSet

DEVELOPMENT = ("heads", "train", "validation")
"""The splits that training and model selection may use."""
_ROWS_AT_ONCE = 1024


def fingerprint(data: FeatureSet, splits: Sequence[str] = DEVELOPMENT) -> str:
    """Return the fingerprint of the rows in the given splits, as 64 hex digits."""
    key = tuple(splits)
    if key not in data.fingerprints:
        data.fingerprints[key] = _digest(data, key)
    return data.fingerprints[key]


def _digest(data: FeatureSet, splits: Sequence[str]) -> str:
    digest = hashlib.sha256()
    selected = [row for row, split in enumerate(data.splits) if split in splits]
    index = torch.tensor(selected, dtype=torch.int64, device="cpu")
    for name, matrix in sorted(data.features.items()):
        digest.update(f"{name}{tuple(matrix.shape[1:])}".encode())
        for rows in torch.split(index, _ROWS_AT_ONCE):
            digest.update(matrix[rows].cpu().numpy().data)
    for row in selected:
        digest.update(f"{data.ids[row]}\0{data.groups[row]}\0{data.splits[row]}\n".encode())
    return digest.hexdigest()
