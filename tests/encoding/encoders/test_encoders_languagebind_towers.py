"""The towers give the published numbers; time is seen by videos only; texts are read up to their end."""

from __future__ import annotations

import pytest
import torch

from omnidistill.encoding.encoders.languagebind.languagebind_towers import Size, Tower, empty_tower
from omnidistill.encoding.encoders.languagebind.load_languagebind import published_name
from published_problems import golden, languagebind_state, wave

SIZES = {
    "video": Size(16, 2, 2, 32, 8, num_frames=8, patch=14, num_positions=257),
    "image": Size(16, 2, 2, 32, 8, patch=14, num_positions=257),
    "text": Size(16, 2, 2, 32, 8),
}


def tiny(modality: str) -> Tower:
    tower, state = empty_tower(SIZES[modality]), languagebind_state()
    own = {name: state[published_name(tower, name)] for name in tower.state_dict()}
    tower.load_state_dict(own, assign=True)
    return tower.requires_grad_(False)


@pytest.mark.parametrize("modality", ["video", "text"])
def test_features_are_the_published_ones(modality: str) -> None:
    tensors = golden("languagebind")
    x = tensors["input.text"] if modality == "text" else wave(2, 3, 8, 224, 224)
    features = tiny(modality).features(x)
    torch.testing.assert_close(features, tensors[f"expected.{modality}.features"], atol=1e-5, rtol=0)


def test_the_head_is_the_published_projection() -> None:
    state = languagebind_state()
    assert torch.equal(tiny("video").head(), state["visual_projection.weight"])
    assert torch.equal(tiny("text").head(), state["text_projection.weight"])


def test_frames_are_told_apart() -> None:
    clip = wave(1, 3, 8, 224, 224)
    features = tiny("video").features(clip)
    assert features.shape == (1, 16)
    assert not torch.allclose(features, tiny("video").features(clip.flip(2)), atol=1e-4)


def test_a_picture_is_one_frame_without_time() -> None:
    """Of a model without temporal attention, a still clip's feature is that of its frame."""
    features = tiny("image").features(wave(2, 3, 224, 224))
    assert features.shape == (2, 16)
    apart = torch.cat([tiny("image").features(x.unsqueeze(0)) for x in wave(2, 3, 224, 224)])
    torch.testing.assert_close(features, apart, atol=1e-5, rtol=0)


def test_spectrograms_need_no_square() -> None:
    size = Size(16, 1, 2, 32, 8, patch=14, num_positions=8 * 74 + 1)
    tower = empty_tower(size).to_empty(device="cpu")
    assert tower.features(torch.zeros(1, 3, 112, 1036)).shape == (1, 16)


def test_what_follows_the_end_of_a_text_has_no_say() -> None:
    """So zeros and end tokens, the paddings in use, give the same feature."""
    ids = golden("languagebind")["input.text"]
    padded = ids.clone()
    for row, end in zip(padded, ids.argmax(-1), strict=True):
        assert row[end + 1] == row[end]
        row[end + 1 :] = 0
    torch.testing.assert_close(tiny("text").features(ids), tiny("text").features(padded), atol=1e-6, rtol=0)
