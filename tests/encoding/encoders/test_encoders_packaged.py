"""Encoders whose weights come with packages: the bundled emoji features are theirs."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.data.emoji import load_emoji
from omnidistill.encoding.encoders.encoder import Item, licences_of
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.video_towers import FrameEncoder
from omnidistill.encoding.encoders.whisper import log_mel
from omnidistill.testing import check_encoder


def cosines(found: Tensor, expected: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(found.double(), expected.double())


def test_minilm_gives_the_bundled_texts_features() -> None:
    emoji, encoder = load_emoji(("noto",)), open_encoder("minilm-l6")
    rows = range(0, 1562, 60)
    texts = [Item(emoji.captions["text"][row]) for row in rows]
    found = torch.cat([encoder.encode(encoder.prepare(text)[None])[:, 0] for text in texts])
    assert cosines(found, emoji.features["text"][list(rows)]).min() > 0.99999
    check_encoder(encoder, texts[:3])


def test_efficientnet_keeps_the_contract_and_sees_the_centre(tmp_path: Path) -> None:
    encoder = open_encoder("efficientnet-lite2")
    pixels = np.random.default_rng(0).integers(0, 256, (260, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(pixels[:, 70:330]).save(tmp_path / "centre.png")
    Image.fromarray(pixels[::-1, :260]).save(tmp_path / "other.png")
    wide = encoder.prepare(Item(tmp_path / "wide.png"))
    assert wide.equal(encoder.prepare(Item(tmp_path / "centre.png")))
    expected = (pixels[:, 70:330].transpose(2, 0, 1).astype(np.float64) - 127) / 128
    assert torch.equal(wide.double(), torch.from_numpy(expected))
    check_encoder(encoder, [Item(tmp_path / "wide.png"), Item(tmp_path / "other.png")])


@pytest.mark.parametrize("name", ["whisper-base", "whisper-tiny-en"])
def test_whisper_keeps_the_contract(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file_name, hertz in (("low", 200), ("high", 900)):
        samples = (8000 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)).astype("<i2")
        with wave.open(str(tmp_path / f"{file_name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.tobytes())
    encoder = open_encoder(name)
    items = [Item(tmp_path / "low.wav"), Item(tmp_path / "high.wav"), Item(tmp_path / "low.wav", 0.2, 0.7)]
    assert encoder.prepare(items[0]).shape == (80, 100)
    check_encoder(encoder, items)
    assert json.loads((encoder.folder / "config.json").read_text())


def test_the_log_mel_is_whispers() -> None:
    """An oracle in float64 with the published steps, frame by frame."""
    sound = torch.randn(5000, generator=torch.Generator().manual_seed(0)).mul(0.1)
    padded = np.pad(sound.double().numpy(), 200)  # with silence
    window = np.hanning(401)[:-1]
    frames = [padded[160 * t : 160 * t + 400] * window for t in range(30)]  # of 31, which are no pairs
    power = np.abs(np.fft.rfft(frames, axis=1).T) ** 2
    hertz = np.arange(201) * 40.0
    bands = np.zeros((80, 201))
    points = [slaney_hertz(slaney_mel(8000.0) * k / 81) for k in range(82)]
    for band in range(80):
        low, peak, high = points[band : band + 3]
        for index, f in enumerate(hertz):
            share = min((f - low) / (peak - low), (high - f) / (high - peak))
            bands[band, index] = max(0.0, share) * 2.0 / (high - low)
    logs = np.log10(np.maximum(bands @ power, 1e-10))
    expected = (np.maximum(logs, logs.max() - 8) + 4) / 4
    torch.testing.assert_close(log_mel(sound).double(), torch.from_numpy(expected), atol=2e-4, rtol=0)


def slaney_mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def slaney_hertz(mel: float) -> float:
    return 200 * mel / 3 if mel < 15 else 1000 * np.exp(np.log(6.4) * (mel - 15) / 27)


def test_licences_are_told() -> None:
    names = ("frames-efficientnet-lite2", "minilm-l6", "whisper-base")
    told = licences_of({name: open_encoder(name) for name in names})
    assert told == {
        "frames-efficientnet-lite2": "EfficientNet-Lite2 weights, as packaged by ML Illustrated, Apache-2.0",
        "minilm-l6": "minilm-l6 weights, licence according to the model card: apache-2.0",
        "whisper-base": "Whisper base weights, OpenAI, MIT",
    }


def test_e5_keeps_the_contract_and_knows_translations() -> None:
    encoder = open_encoder("e5-small")
    texts = [Item("a black cat"), Item("un chat noir"), Item("the price of oil")]
    check_encoder(encoder, texts)
    cat, chat, oil = (encoder.encode(encoder.prepare(text)[None])[0, 0] for text in texts)
    assert cat @ chat > cat @ oil + 0.05
    assert torch.allclose(cat.norm(), torch.tensor(1.0))
    with pytest.raises(InputError, match="contains the character NUL"):
        encoder.prepare(Item("a\0b"))


@pytest.mark.parametrize(("size", "side"), [(0, 224), (1, 240)])
def test_smaller_efficientnets_read_images_and_frames(size: int, side: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    encoder, frames = open_encoder(f"efficientnet-lite{size}"), open_encoder(f"frames-efficientnet-lite{size}")
    one = encoder.prepare(Item(tmp_path / "one.png"))
    assert one.shape == (3, side, side)
    feature = encoder.encode(one[None])
    assert feature.shape == (1, 1, 1280)
    clip = torch.stack([one, one.flip(2)])
    views = FrameEncoder(frames.image_encoder, views=2).encode(clip[None])
    torch.testing.assert_close(views[0, 0], feature[0, 0])
    assert not torch.allclose(views[0, 1], feature[0, 0], atol=1e-3)
