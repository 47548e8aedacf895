"""The adapters of ImageBind and LanguageBind, on tiny towers: the contract, and what they give to the towers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from media_files import picture, square, write_media
from omnidistill.encoding.encoders.encoder import Item, licences_of
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.imagebind import load_imagebind as imagebind
from omnidistill.encoding.encoders.imagebind.imagebind_inputs import audio_input
from omnidistill.encoding.encoders.languagebind import languagebind_inputs as preprocessing
from omnidistill.encoding.media.sound import read_sound
from omnidistill.testing import check_encoder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("clip") / "clip.mp4")  # 48 frames at 24 a second


@pytest.mark.parametrize("name", ["imagebind-image", "imagebind-audio", "imagebind-text", "imagebind-video",
                                  "languagebind-video", "languagebind-text"])  # fmt: skip
def test_towers_keep_the_contract(name: str, towers: dict[str, Path], clip: Path, tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(picture(20 * index)).save(tmp_path / f"{index}.png")
    items = {
        "image": [Item(tmp_path / "0.png"), Item(tmp_path / "1.png")],
        "text": [Item("a red cat"), Item("the sea")],
        "audio": [Item(clip, 0.0, 0.5), Item(clip, 0.9, 1.4)],
        "video": [Item(clip, 0.0, 1.0), Item(clip, 1.0, 2.0)],
    }
    encoder = open_encoder(f"{name}:{towers[name.partition('-')[0]]}")
    check_encoder(encoder, items[encoder.kind])
    assert encoder.width == 16
    assert encoder.head().shape == (8, 16)


def test_a_clips_frames_are_its_own(towers: dict[str, Path], clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(preprocessing, "video_input", lambda frames: given.append(frames) or torch.zeros(1))
    open_encoder(f"languagebind-video:{towers['languagebind']}").prepare(Item(clip, 0.5, 1.5))
    lefts = [square(frame.permute(1, 2, 0).numpy()) for frame in given[0]]
    assert lefts == [12 + 23 * k // 7 for k in range(8)]  # the first to the last of 24 frames from the 12th on


def test_the_first_channel_is_heard(towers: dict[str, Path], clip: Path) -> None:
    prepared = open_encoder(f"imagebind-audio:{towers['imagebind']}").prepare(Item(clip))
    left, right = read_sound(clip, 16_000)
    assert torch.equal(prepared, audio_input(left))
    assert not torch.equal(prepared, audio_input(right))


def test_the_published_mean_over_views_follows_from_kept_views(towers: dict[str, Path], clip: Path) -> None:
    encoder = open_encoder(f"imagebind-video:{towers['imagebind']}")
    views = encoder.encode(encoder.prepare(Item(clip))[None])
    assert views.shape == (1, 15, 16)
    tower = imagebind.load(towers["imagebind"], "vision").tower
    unit = torch.nn.functional.normalize(views @ encoder.head().mT, dim=-1).mean(1)
    torch.testing.assert_close(tower.output(views), unit, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["imagebind-text", "languagebind-text"])
def test_texts_of_more_than_75_tokens_are_cut(name: str, towers: dict[str, Path]) -> None:
    encoder = open_encoder(f"{name}:{towers[name.partition('-')[0]]}")
    fits, longer = Item("1" * 75), Item("1" * 76)  # a digit is a token
    assert not encoder.truncates(fits)
    assert encoder.truncates(longer)
    assert torch.equal(encoder.prepare(fits), encoder.prepare(longer))


def test_the_licence_of_the_weights_is_told(towers: dict[str, Path]) -> None:
    bound = {name: open_encoder(f"{name}-video:{towers[name]}") for name in ("imagebind", "languagebind")}
    told = licences_of(bound)
    assert "CC-BY-NC 4.0: non-commercial" in told["imagebind"]
    assert told["languagebind"].endswith("MIT")
