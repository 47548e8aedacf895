"""A tower's weights come back with their size; another tower, or one of no size, is refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.stored_tower import store_tower, stored_tower
from omnidistill.io.artifacts import load_artifact, save_artifact


@dataclass(frozen=True)
class Size:
    width: int
    num_heads: int = 1


def test_it_comes_back(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.arange(6.0).view(2, 3)}
    store_tower(tmp_path, "model", "sound", tensors, Size(3), "free", {"file": "a.pth", "sha256": "0"})
    found = stored_tower(tmp_path, "model", "sound", Size, verify=True)
    assert found.size == Size(3)
    assert torch.equal(found.tensors["a.weight"], tensors["a.weight"])
    file = next((tmp_path / "sound").glob("*.safetensors"))
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    meta = load_artifact(tmp_path / "sound", "encoder").meta
    assert (meta["licence"], meta["source"]["file"]) == ("free", "a.pth")


@pytest.mark.parametrize("meta", [{"model": "other", "modality": "sound"}, {"model": "model"}, {}])
def test_another_tower_is_refused(tmp_path: Path, meta: dict[str, Any]) -> None:
    save_artifact(tmp_path / "sound", "encoder", {}, meta)
    with pytest.raises(
        InputError, match=r"sound: contains weights for model .*; expected model 'model', modality 'sound'"
    ):
        stored_tower(tmp_path, "model", "sound", Size, verify=True)


@pytest.mark.parametrize("size", [None, {}, {"width": 3, "depth": 2}])
def test_the_size_must_be_known(tmp_path: Path, size: Any) -> None:
    save_artifact(tmp_path / "sound", "encoder", {}, {"model": "model", "modality": "sound", "size": size})
    with pytest.raises(InputError, match="the stored model size is missing"):
        stored_tower(tmp_path, "model", "sound", Size, verify=True)
