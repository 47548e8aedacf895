"""Shipped bytes: sizes that are computed without values equal those of files, for rows, heads and initial heads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import DistilledSet, SetSpec
from omnidistill.distillation.shipped_bytes import heads_bytes, initial_heads_bytes, real_rows_bytes
from omnidistill.io.artifacts import save_artifact
from omnidistill.models.heads import save_heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import SharedGroups
from omnidistill.models.storages import RowStorage
from omnidistill.training.recipes import Sgd
from small_runs import features, shipped, small_heads, widths


@pytest.mark.parametrize("bits", [32, 16, 8, 6, 4, 3, 2])
@pytest.mark.parametrize("num_rows", [1, 7, 1000])
def test_empty_rows_have_the_shapes_and_types_of_stored_rows(bits: int, num_rows: int) -> None:
    storage = RowStorage(bits=bits, views=2)  # type: ignore[arg-type]
    stored = storage.store({name: torch.ones(num_rows, width) for name, width in widths(3).items()})
    empty = storage.empty(widths(3), num_rows)
    assert {name: (x.shape, x.dtype) for name, x in empty.items()} == {n: (x.shape, x.dtype) for n, x in stored.items()}
    assert all(x.is_meta for x in empty.values())


@pytest.mark.parametrize("num_rows", [2, 12, 64])
def test_random_rows_take_what_a_set_of_them_takes(num_rows: int, tmp_path: Path) -> None:
    train = features().split("train")
    tensors = {f"rows/{name}": x[:num_rows] for name, x in train.features.items()}
    tensors["similarity/groups"] = train.group_codes[:num_rows].int()
    recipe = Sgd(step_sizes=(0.3,) * 3, num_steps=64, batch_size=num_rows)
    spec = SetSpec(train.widths, num_rows, RowStorage(), SharedGroups(), InfoNCE(), recipe)
    DistilledSet(tensors, spec, train.preprocessing).save(tmp_path)
    assert real_rows_bytes(num_rows, train.widths, train.preprocessing) == shipped(tmp_path)


@pytest.mark.parametrize("centre", [True, False])
def test_heads_take_what_their_files_take(centre: bool, tmp_path: Path) -> None:
    """Means are part of the files; without means there are no bytes of them."""
    data, heads = features(), small_heads(features())
    steps = data.preprocessing if centre else Preprocessing(True, 1e-5, {})
    meta = {"preprocessing": steps.to_meta(), "bits": 32}
    save_artifact(tmp_path, "heads", {**heads, **steps.to_tensors()}, meta, padding=0)
    assert heads_bytes(heads, steps, bits=32) == shipped(tmp_path)
    numbers = sum(matrix.nbytes for matrix in heads.values()) + centre * sum(data.widths.values())
    assert numbers < shipped(tmp_path) < numbers + 1500


def test_initial_heads_take_their_tensors_and_a_manifest(tmp_path: Path) -> None:
    """Their origin, which training does not need, is not counted."""
    heads = small_heads(features(), width=64)
    save_heads(heads, tmp_path, {"origin": "pre-trained on the heads split"})
    (tensors,) = tmp_path.glob("*.safetensors")
    assert tensors.stat().st_size < initial_heads_bytes(heads) <= shipped(tmp_path)
