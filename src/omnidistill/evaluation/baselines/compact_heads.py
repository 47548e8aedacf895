"""The size of heads in stored form, and the largest rank at which heads take no more bytes than a synthetic set.

The head of modality m is a matrix W_m (r x p_m) with rank r and feature width p_m. Its rows are rounded and coded in
the same formats as the rows of sets (`models.storages`).

If preprocessing centres the features, a user of the heads also needs the feature means mu_m. The files then contain
the means or, to the same effect, the biases -W_m mu_m (r float32 numbers per modality): whichever takes fewer bytes. If
preprocessing does not centre the features, the files always contain biases.
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
        widths: feature width of each modality.
        rank: number of rows of each head.
        preprocessing: steps that are applied to features before the heads.
    """
    heads = {f"head/{name}": x for name, x in storage.empty(widths, rank).items()}
    biases = {f"bias/{name}": torch.empty(rank, device="meta") for name in widths}
    stored_as = storage.model_dump(mode="json")
    with_biases = heads_bytes({**heads, **biases}, replace(preprocessing, means={}), storage=stored_as)
    if not preprocessing.means:
        return with_biases
    return min(with_biases, heads_bytes(heads, preprocessing, storage=stored_as))


def largest_rank(setting: Setting, storage: Storage) -> int:
    """Return the largest rank at which the files of the heads fit in the allowed bytes; 0 if no rank above 1 fits.

    Rank 1 does not count, because the heads are compared with synthetic sets, which have at least two rows.

    The rank is at most the second largest feature width. For example, it is at most 768 if the widths are 512, 768 and
    1024: two modalities have at most as many canonical directions as the narrower one has features.

    Stacking the heads on the initial heads requires one scaling factor per modality. The bytes of these factors are
    subtracted from the allowed bytes.

    Raises:
        InputError: the storage derives several rows (views) from a stored row, but heads have no views.
    """
    assert setting.allowance is not None
    if storage.num_rows(1) != 1:
        raise InputError(
            "storage.views: this baseline stores projection heads, which have no views (rows that are derived from a "
            "stored row); set storage.views = 1"
        )
    train, limit = setting.data.train, setting.allowance.bytes - factor_bytes(setting.start)
    ranks = range(1, sorted(train.widths.values())[-2] + 1)
    rank = bisect_right(ranks, limit, key=lambda rank: compact_bytes(storage, train.widths, rank, train.preprocessing))
    return rank if rank >= LEAST_ROWS else 0


def rounded(heads: Heads, storage: Storage) -> Heads:
    """Return the heads, rounded to the precision with which they are stored."""
    with torch.no_grad():
        return storage.expand(storage.init(heads))


def bias_of(heads: Heads, train: FeatureSet) -> dict[str, Float[Tensor, " _"]] | None:
    """Return the biases -W mu for heads W and the mean training row mu; None if preprocessing centres the features."""
    if train.preprocessing.means:
        return None
    return {name: -(matrix @ train.features[name].mean(0)) for name, matrix in heads.items()}
