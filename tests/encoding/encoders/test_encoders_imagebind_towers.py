"""The towers hold the published weights under the published names and give the published numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omnidistill.encoding.encoders.imagebind.imagebind_keys import published_name
from omnidistill.encoding.encoders.imagebind.imagebind_towers import HUGE, MODALITIES, Modality, Tower, empty_tower
from published_problems import TINY_IMAGEBIND, golden, huge_shapes, wave

SHAPES = {
    "vision": (2, 3, 224, 224),
    "audio": (4, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}


def tiny(modality: Modality) -> Tower:
    tower, tensors = empty_tower(modality, TINY_IMAGEBIND[modality]), golden("imagebind")
    own = {name: tensors[f"weights.{published_name(modality, name)}"] for name in tower.state_dict()}
    tower.load_state_dict(own, assign=True)
    return tower.requires_grad_(False)


def given(modality: Modality) -> Tensor:
    return golden("imagebind")["input.text"] if modality == "text" else wave(*SHAPES[modality])


def test_at_full_size_all_keys_and_shapes_are_the_published_ones() -> None:
    found = {
        published_name(modality, name): list(tensor.shape)
        for modality in MODALITIES
        for name, tensor in empty_tower(modality, HUGE[modality]).state_dict().items()
    }
    assert len(found) == 1311
    assert found == huge_shapes()


@pytest.mark.parametrize("modality", MODALITIES)
def test_features_heads_and_outputs_are_the_published_ones(modality: Modality) -> None:
    """For audio, the output is the mean over two clips, after each is projected and scaled."""
    tower, tensors = tiny(modality), golden("imagebind")
    expected = {part: tensors[f"expected.{modality}.{part}"] for part in ("features", "head", "output")}
    features = tower.features(given(modality))
    torch.testing.assert_close(features, expected["features"], atol=1e-5, rtol=0)
    torch.testing.assert_close(features @ tower.head().T, expected["head"], atol=1e-5, rtol=0)
    torch.testing.assert_close(tower.output(features.view(2, -1, 16)), expected["output"], atol=1e-5, rtol=0)


def test_videos_of_five_clips_too() -> None:
    tower, tensors = tiny("vision"), golden("imagebind")
    features = tower.features(wave(2, 5, 3, 2, 224, 224).flatten(0, 1))
    torch.testing.assert_close(features, tensors["expected.video5.features_per_view"], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        tower.output(features.view(2, 5, 16)), tensors["expected.video5.output"], atol=1e-5, rtol=0
    )


def test_a_picture_is_a_clip_that_stands_still() -> None:
    picture = wave(1, 3, 224, 224)
    clip = picture.unsqueeze(2).repeat(1, 1, 2, 1, 1)
    assert torch.equal(tiny("vision").features(picture), tiny("vision").features(clip))


def test_what_follows_the_end_of_a_text_has_no_say() -> None:
    ids = golden("imagebind")["input.text"]
    end = int(ids[0].argmax())
    other = ids.clone()
    other[0, end + 1 :] = 7
    torch.testing.assert_close(tiny("text").features(ids), tiny("text").features(other), atol=1e-6, rtol=0)
    other[0, end - 1] = 7
    assert not torch.allclose(tiny("text").features(ids)[0], tiny("text").features(other)[0], atol=1e-3)


def test_the_scale_is_at_most_a_hundred() -> None:
    tower = tiny("text")
    assert tower.log_scale is not None
    tower.log_scale.data = torch.tensor(20.0)
    features = tower.features(given("text"))
    torch.testing.assert_close(tower.output(features.view(2, 1, 16)).norm(dim=1), torch.full((2,), 100.0))
