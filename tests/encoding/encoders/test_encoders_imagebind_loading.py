"""From the published file to one artifact a tower and back, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.imagebind.imagebind_towers import MODALITIES
from omnidistill.encoding.encoders.imagebind.load_imagebind import LICENCE, convert, load
from omnidistill.encoding.encoders.published_weights import file_sha256
from omnidistill.io.artifacts import load_artifact, save_artifact
from published_problems import TINY_IMAGEBIND, golden, weights


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "imagebind_tiny.pth"
    torch.save(weights("imagebind"), path)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint: Path) -> Path:
    convert(checkpoint, checkpoint.parent / "towers", sizes=TINY_IMAGEBIND)
    return checkpoint.parent / "towers"


def test_every_weight_lands_in_one_tower_bit_for_bit(checkpoint: Path, converted: Path) -> None:
    found = {}
    for modality in MODALITIES:
        artifact = load_artifact(converted / modality, "encoder")
        assert artifact.meta["licence"] == LICENCE
        assert artifact.meta["source"] == {"file": "imagebind_tiny.pth", "sha256": file_sha256(checkpoint)}
        assert not found.keys() & artifact.tensors.keys()
        found |= artifact.tensors
    published = weights("imagebind")
    assert found.keys() == published.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in published.items())


def test_a_loaded_tower_gives_the_published_features(converted: Path) -> None:
    tensors = golden("imagebind")
    loaded = load(converted, "text")
    features = loaded.tower.features(tensors["input.text"])
    torch.testing.assert_close(features, tensors["expected.text.features"], atol=1e-5, rtol=0)
    assert loaded.sha256 == load_artifact(converted / "text", "encoder").files[0].sha256
    assert not features.requires_grad


def test_only_the_towers_asked_for_are_written(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "towers", ("imu",), TINY_IMAGEBIND)
    assert [path.name for path in (tmp_path / "towers").iterdir()] == ["imu"]


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (
            "modality_heads.imu.3.weight",
            None,
            r"'modality_heads\.imu\.3\.weight' of shape .* is missing; pass",
        ),
        (
            "modality_trunks.text.blocks.1.norm_1.bias",
            (5,),
            r"norm_1\.bias' has dtype float32 and shape \(5,\), .* \(16,\)",
        ),
        ("modality_heads.touch.2.weight", (8, 16), r"'modality_heads\.touch\.2\.weight' is not a weight of imagebind"),
    ],
)
def test_a_file_of_another_model_is_refused(
    tmp_path: Path, key: str, shape: tuple[int, ...] | None, message: str
) -> None:
    state = weights("imagebind")
    if shape is None:
        del state[key]
    else:
        state[key] = torch.zeros(shape)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=rf"other\.pth: .*{message}"):
        convert(tmp_path / "other.pth", tmp_path / "towers", sizes=TINY_IMAGEBIND)
    assert not (tmp_path / "towers").exists()


def test_the_published_size_is_expected_by_default(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"float32 and shape \(1, 257, 16\)|shape \(.*16.*\), expected floating"):
        convert(checkpoint, tmp_path / "towers")


def test_one_tower_is_not_taken_for_another(converted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not an omnidistill artifact"):
        load(tmp_path, "vision")
    (converted / "imu").rename(tmp_path / "depth")
    try:
        message = r"weights for model 'imagebind', modality 'imu'; expected model 'imagebind', modality 'depth'"
        with pytest.raises(InputError, match=message):
            load(tmp_path, "depth")
    finally:
        (tmp_path / "depth").rename(converted / "imu")
    save_artifact(tmp_path / "audio", "encoder", {}, {"model": "other"})
    with pytest.raises(InputError, match=r"contains weights for model 'other', modality None"):
        load(tmp_path, "audio")
