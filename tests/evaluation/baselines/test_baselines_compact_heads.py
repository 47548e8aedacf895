"""Heads in the bytes of a set: bytes that are those of files, the largest rank, and as many values as the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from method_problems import off_centre
from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.distillation.shipped_bytes import planned_bytes
from omnidistill.evaluation.baselines import Allowance, Setting
from omnidistill.evaluation.baselines.compact_heads import bias_of, compact_bytes, largest_rank
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.io.artifacts import save_artifact
from omnidistill.models.heads import Heads, random_heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages import RowStorage, Storage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.recipes.anchor_regression import Anchor
from small_runs import features, shipped, small_heads

STORAGES = (RowStorage(), RowStorage(bits=4), CodedStorage())
WIDTHS = {"a": 400, "b": 500}


def setting(data: FeatureSet, num_bytes: int) -> Setting:
    return Setting(data.development(), small_heads(data), EvaluateConfig(), 0, Allowance(2, num_bytes))


def files(data: FeatureSet, heads: Heads, storage: Storage, folder: Path, means: bool) -> int:
    """Write heads with the means of the features, or with biases, and return the size of the files."""
    steps, tensors = data.preprocessing, {f"head/{name}": x for name, x in storage.store(storage.init(heads)).items()}
    if means:
        tensors |= steps.to_tensors()
    else:
        steps = replace(steps, means={})
        tensors |= {f"bias/{name}": torch.ones(len(matrix)) for name, matrix in heads.items()}
    meta = {"preprocessing": steps.to_meta(), "storage": storage.model_dump(mode="json")}
    save_artifact(folder, "heads", tensors, meta, padding=0)
    return shipped(folder)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
@pytest.mark.parametrize("rank", [2, 12])
def test_bytes_are_those_of_the_smaller_files(storage: Storage, rank: int, tmp_path: Path) -> None:
    for data, has_means in ((features(), True), (off_centre(features(2)), False)):
        heads = random_heads(data.widths, rank, torch.Generator().manual_seed(0))
        forms = (True, False) if has_means else (False,)
        sizes = [files(data, heads, storage, tmp_path / f"{has_means}{means}", means) for means in forms]
        data = data if has_means else replace(data, preprocessing=replace(data.preprocessing, means={}))
        assert compact_bytes(storage, data.widths, rank, data.preprocessing) == min(sizes)


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_the_rank_is_the_largest_whose_files_fit_next_to_a_factor_per_modality(storage: Storage) -> None:
    data = features()
    sizes = {rank: compact_bytes(storage, data.widths, rank, data.preprocessing) + 4 * 3 for rank in range(2, 15)}
    assert list(sizes.values()) == sorted(set(sizes.values()))
    for rank, size in sizes.items():
        assert largest_rank(setting(data, size), storage) == rank
        assert largest_rank(setting(data, size - 1), storage) == (rank - 1 if rank > 2 else 0)
    assert largest_rank(setting(data, 10**9), storage) == 14  # the second largest width


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_heads_have_as_many_values_as_the_rows_of_a_set_in_the_same_bytes(storage: Storage) -> None:
    """Up to a few rows, for files that differ in their manifests, and in biases or means."""
    data = features()
    similarity, recipe = FixedIdentity(), Anchor(ridges=(1.0, 1.0))
    steps = data.preprocessing.usual(WIDTHS)
    for size in (20, 100):
        budget = planned_bytes(SetSpec(WIDTHS, size, storage, similarity, InfoNCE(), recipe), steps)
        ranks = [rank for rank in range(size - 1, size + 9) if compact_bytes(storage, WIDTHS, rank, steps) <= budget]
        assert size <= ranks[-1] <= size + 6


def test_the_bias_centres_outputs_of_features_that_are_not_centred() -> None:
    data = off_centre(features(2)).split("train")
    heads = small_heads(data)
    assert bias_of(heads, data) is None
    plain = replace(data, preprocessing=replace(data.preprocessing, means={}))
    bias = bias_of(heads, plain)
    assert bias is not None
    for name, matrix in heads.items():
        outputs = data.features[name] @ matrix.mT + bias[name]
        torch.testing.assert_close(outputs.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
        assert float(bias[name].abs().max()) > 0.1


def test_heads_have_no_views() -> None:
    with pytest.raises(InputError, match=r"storage\.views: this baseline stores projection heads"):
        largest_rank(setting(features(), 5000), RowStorage(views=2))
