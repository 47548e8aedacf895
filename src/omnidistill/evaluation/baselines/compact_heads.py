"""Heads W_m (r x p_m) stored in the bytes of a set: the rank r that fits, and the size of the files.

The rows of the heads are rounded and coded by the same storages as the rows of sets. A receiver of centred features
also needs their means. The files contain the smaller one of two equivalent forms: the means of the preprocessing, or
the biases -W_m mu_m in float32 (r numbers per modality). If features are not centred, the size always includes biases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation.budget import LEAST_ROWS
from omnidistill.distillation.shipped_bytes import heads_bytes
from omnidistill.evaluation.baselines.baseline import Setting
from omnidistill.evaluation.baselines.output_norms import factor_bytes
from omnidistill.models.heads import Heads
from omnidistill.models.storages import Storage


def compact_bytes(storage: Storage, widths: Mapping[str, int], rank: int, preprocessing: Preprocessing) -> int:
    """Return the size in bytes of the files that store heads of this rank.

    Args:
        storage: how the rows of the heads are stored.
        widths: feature width p_m of each modality.
        rank: number of rows r of each head.
        preprocessing: steps that a receiver applies to features.
    """
    heads = {f"head/{name}": x for name, x in storage.empty(widths, rank).items()}
    biases = {f"bias/{name}": torch.empty(rank, device="meta") for name in widths}
    stored_as = storage.model_dump(mode="json")
    with_biases = heads_bytes({**heads, **biases}, replace(preprocessing, means={}), storage=stored_as)
    if not preprocessing.means:
        return with_biases
    return min(with_biases, heads_bytes(heads, preprocessing, storage=stored_as))


def largest_rank(setting: Setting, storage: Storage) -> int:
    """Return the largest rank whose files fit into the allowed bytes; 0 if it is less than 2, as a set has two rows.

    The rank is at most the second largest feature width, because no pair of modalities has more canonical directions.
    The bytes for stacking the heads on the initial heads are reserved, so stacked heads fit too.

    Raises:
        InputError: the storage expands a row to several views, which heads do not have.
    """
    assert setting.allowance is not None
    if storage.num_rows(1) != 1:
        raise InputError("storage.views of a baseline must be 1, because heads cannot be expanded to several views")
    train, limit = setting.data.train, setting.allowance.bytes - factor_bytes(setting.start)
    ranks = range(1, sorted(train.widths.values())[-2] + 1)
    rank = bisect_right(ranks, limit, key=lambda rank: compact_bytes(storage, train.widths, rank, train.preprocessing))
    return rank if rank >= LEAST_ROWS else 0


def rounded(heads: Heads, storage: Storage) -> Heads:
    """Return the heads as they are stored."""
    with torch.no_grad():
        return storage.expand(storage.init(heads))


def bias_of(heads: Heads, train: FeatureSet) -> dict[str, Float[Tensor, " _"]] | None:
    """Return the biases -W mu that centre the outputs; None if the features are centred."""
    if train.preprocessing.means:
        return None
    return {name: -(matrix @ train.features[name].mean(0)) for name, matrix in heads.items()}
