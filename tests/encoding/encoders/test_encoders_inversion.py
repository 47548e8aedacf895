"""Encoders that can be inverted: canvases give what the encoders read, and gradient steps approach a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity

import tiny_models
from media_files import picture, write_media
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.ctranslate2_file import read_variables
from omnidistill.encoding.encoders.encoder import Encoder, Item
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.video_towers import FrameEncoder
from omnidistill.encoding.inversion import InversionSettings, SoundCanvas, canvas_of, invert

TOWERS = ("imagebind-image", "imagebind-video", "imagebind-audio", "languagebind-video")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Item]:
    """A picture, a video and a sound, which are square and of 2 s: no crop and no clip leaves anything out."""
    folder = tmp_path_factory.mktemp("media")
    Image.fromarray(picture(20, 64, 64)).save(folder / "picture.png")
    clip = write_media(folder / "clip.mp4", size=(64, 64))
    return {"image": Item(folder / "picture.png"), "video": Item(clip), "audio": Item(clip, 0.0, 2.0)}


def unit(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def check_inversion(encoder: Encoder, item: Item, folder: Path, seconds: float = 2.0) -> None:
    """The canvas reads the item as the encoder does; steps approach a random row; the file has what was optimised."""
    canvas = canvas_of(encoder, seconds)
    assert canvas is not None
    assert canvas.kind == encoder.kind
    values = canvas.read(item)
    assert values.shape == canvas.blank().shape == canvas.shape
    expected = encoder.encode(encoder.prepare(item)[None]).mean(1)
    read = encoder.features(canvas.to_input(values[None])).mean(1)
    assert cosine_similarity(unit(read), unit(expected)).item() > 0.999
    target = unit(torch.randn(1, encoder.width, generator=torch.Generator().manual_seed(0)))
    settings = InversionSettings(num_steps=10, learning_rate=0.05, jitter=1)
    found = [
        invert(encoder, canvas, target, values[None], unit, settings, torch.Generator().manual_seed(0))
        for _ in range(2)
    ]
    assert found[0].cosines.item() > found[0].initial_cosines.item() + 0.01
    assert found[0].values.equal(found[1].values)
    file = folder / f"rendered{canvas.suffix}"
    canvas.save(found[0].values[0], file)
    again = unit(encoder.encode(encoder.prepare(Item(file))[None]).mean(1))
    optimised = unit(encoder.features(canvas.to_input(found[0].values)).mean(1))
    limit = 0.9 if canvas.kind == "audio" else 0.999  # a spectrogram need not be that of any sound
    assert cosine_similarity(again, optimised).item() > limit
    assert canvas.picture(found[0].values[0]).shape[0] == 3


@pytest.mark.parametrize("name", TOWERS)
def test_towers_can_be_inverted(name: str, towers: dict[str, Path], media: dict[str, Item], tmp_path: Path) -> None:
    encoder = open_encoder(f"{name}:{towers[name.partition('-')[0]]}")
    check_inversion(encoder, media[encoder.kind], tmp_path)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_image_towers_and_their_frames_can_be_inverted(family: str, media: dict[str, Item], tmp_path: Path) -> None:
    encoder = open_encoder(f"{family}-image:{getattr(tiny_models, family)(tmp_path / 'model')}")
    check_inversion(encoder, media["image"], tmp_path)
    check_inversion(FrameEncoder(encoder, views=3), media["video"], tmp_path)


def test_whisper_in_torch_is_the_encoder(media: dict[str, Item], tmp_path: Path) -> None:
    encoder = open_encoder("whisper-tiny-en")
    mels = torch.stack(
        [encoder.prepare(media["audio"]), torch.rand(80, 200, generator=torch.Generator().manual_seed(1))]
    )
    torch.testing.assert_close(encoder.features(mels), encoder.encode(mels), atol=1e-4, rtol=1e-4)
    short = Item(media["audio"].content, 0.0, 0.5)
    check_inversion(encoder, short, tmp_path, seconds=0.5)


@pytest.mark.parametrize("name", ["whisper-tiny-en", "imagebind-audio"])
def test_a_spectrogram_gives_back_its_sound(name: str, towers: dict[str, Path], tmp_path: Path) -> None:
    """A gliding tone: in every column, the loudest band of the new sound is that of the original."""
    encoder = open_encoder(name if name.startswith("whisper") else f"{name}:{towers['imagebind']}")
    canvas = canvas_of(encoder, 1.0)
    assert isinstance(canvas, SoundCanvas)
    time = torch.arange(16_000) / 16_000
    glide = 0.3 * torch.sin(2 * np.pi * (300 * time + 600 * time**2))
    values = canvas.spectrogram.analyse(glide)[:, : canvas.shape[1]]
    again = canvas.spectrogram.analyse(canvas.sound(values))[:, : canvas.shape[1]]
    inside = slice(5, -5)
    assert (values.argmax(0) - again.argmax(0))[inside].abs().max() <= 1
    assert (values - again)[:, inside].abs().mean() < 0.1 * values.std()


def test_encoders_without_gradients_have_no_canvas(tmp_path: Path) -> None:
    assert canvas_of(open_encoder("e5-small"), 1.0) is None
    assert canvas_of(open_encoder(f"siglip-image:{tiny_models.siglip2(tmp_path)}"), 1.0) is None


def test_a_file_that_is_no_model_gives_one_line(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    for content, message in (
        (b"\x06\0", "cannot be read as a CTr"),
        (b"\x05\0\0\0", "has CTranslate2 format version 5"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_variables(file, "")
