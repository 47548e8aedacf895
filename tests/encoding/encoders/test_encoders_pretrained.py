"""Towers of tiny random models: the contract, and that features are those of the model's own forward pass."""

from __future__ import annotations

import json
import shutil
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch.testing import assert_close

import tiny_models
from media_files import picture, write_media
from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.audio_towers import AudioTower
from omnidistill.encoding.encoders.encoder import Item, licences_of
from omnidistill.encoding.encoders.encoder_registry import open_encoder
from omnidistill.encoding.encoders.image_towers import ImageTower
from omnidistill.encoding.encoders.text_towers import TextTower
from omnidistill.encoding.encoders.video_towers import VideoTower
from omnidistill.encoding.media.sound import read_sound
from omnidistill.testing import check_encoder

FAMILIES = {
    "clip": tiny_models.clip,
    "siglip": tiny_models.siglip,
    "siglip2": tiny_models.siglip2,
    "clap": tiny_models.clap,
    "clap-fused": lambda folder: tiny_models.clap(folder, fused=True),
    "pe-av": tiny_models.pe_av,
    "sentence": tiny_models.sentence,
    "whisper": tiny_models.whisper,
}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model, made once."""
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = FAMILIES[family](tmp_path_factory.mktemp(family) / family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Item]]:
    """Items of every kind, two that share a shape among them where shapes differ."""
    folder = tmp_path_factory.mktemp("items")
    for index, size in enumerate([(64, 48), (48, 48), (40, 60)]):
        Image.fromarray(picture(9 * index, *size)).save(folder / f"{index}.png")
    clip = write_media(folder / "clip.mp4")
    return {
        "image": [Item(folder / f"{index}.png") for index in range(3)],
        "text": [Item("a red cat"), Item("the blue sea"), Item("a picture of the long tale of the sea and the dog")],
        "audio": [Item(clip, 0.0, 0.1), Item(clip, 0.6, 0.8), Item(clip, 1.2, 1.4)],
        "video": [Item(clip, 0.0, 1.0), Item(clip, 1.0, 2.0)],
    }


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("clip", "clip-image"),
        ("clip", "clip-text"),
        ("clip", "frames-clip"),
        ("siglip", "siglip-image"),
        ("siglip", "siglip-text"),
        ("siglip2", "siglip-image"),
        ("siglip2", "siglip-text"),
        ("clap", "clap-audio"),
        ("clap-fused", "clap-audio"),
        ("clap", "clap-text"),
        ("pe-av", "pe-av-audio"),
        ("pe-av", "pe-av-video"),
        ("pe-av", "pe-av-text"),
        ("sentence", "sentence"),
        ("whisper", "whisper-audio"),
    ],
)
def test_towers_keep_the_contract(
    family: str, name: str, model: Callable[[str], Path], items: dict[str, list[Item]]
) -> None:
    encoder = open_encoder(f"{name}:{model(family)}")
    check_encoder(encoder, items[encoder.kind])


def write_sound(path: Path, seconds: float) -> Path:
    """A rising tone of 48 kHz."""
    time = np.arange(round(48_000 * seconds)) / 48_000
    samples = (20_000 * np.sin(2 * np.pi * (200 + 40 * time) * time)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.tobytes())
    return path


def whole(folder: Path) -> torch.nn.Module:
    return transformers.AutoModel.from_pretrained(folder).eval()


def encoded(encoder: ImageTower | TextTower | AudioTower | VideoTower, item: Item) -> torch.Tensor:
    return encoder.encode(encoder.prepare(item)[None])[:, 0]


@torch.no_grad()
def test_clips_features_and_heads_are_the_models_embeddings(
    model: Callable[[str], Path], items: dict[str, list[Item]]
) -> None:
    folder = model("clip")
    image, text = ImageTower("clip", str(folder)), TextTower("clip", str(folder))
    reference = whole(folder)
    for item in items["image"]:
        pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(
            images=Image.open(item.source), return_tensors="pt"
        )
        expected = reference.get_image_features(**pixels).pooler_output
        assert_close(encoded(image, item) @ image.head().mT, expected, atol=1e-5, rtol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer([item.text for item in items["text"]], padding=True, truncation=True, return_tensors="pt")
    expected = reference.get_text_features(given["input_ids"], given["attention_mask"]).pooler_output
    found = torch.cat([encoded(text, item) for item in items["text"]])
    assert_close(found @ text.head().mT, expected, atol=1e-5, rtol=1e-5)
    assert given["input_ids"].shape[1] == 12  # the last text was cut, its end token was not


@torch.no_grad()
@pytest.mark.parametrize("family", ["siglip", "siglip2"])
def test_siglips_features_are_those_of_padded_inputs(
    family: str, model: Callable[[str], Path], items: dict[str, list[Item]]
) -> None:
    folder = model(family)
    image, text = ImageTower("siglip", str(folder)), TextTower("siglip", str(folder))
    reference = whole(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for item in items["image"]:
        given = processor(images=Image.open(item.source), return_tensors="pt")
        expected = reference.get_image_features(**given).pooler_output
        assert_close(encoded(image, item), expected, atol=1e-5, rtol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(items["text"][0].text, padding="max_length", max_length=12, return_tensors="pt")
    expected = reference.get_text_features(given["input_ids"]).pooler_output
    found = encoded(text, items["text"][0])
    assert_close(reference.text_model.head(found), expected, atol=1e-5, rtol=1e-5)
    assert image.head() is None
    assert text.head() is None


@torch.no_grad()
@pytest.mark.parametrize("family", ["clap", "clap-fused"])
def test_claps_features_are_the_models_and_of_a_long_sound_those_of_its_middle(
    family: str, model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = model(family)
    audio, reference = AudioTower("clap", str(folder)), whole(folder)
    long = write_sound(tmp_path / "long.wav", 12.5)
    middle = read_sound(long, 48_000)[0, 60_000 : 60_000 + 480_000]  # of 12.5 s
    features = transformers.ClapFeatureExtractor.from_pretrained(folder)(
        middle.numpy(), sampling_rate=48_000, return_tensors="pt"
    )["input_features"]
    is_longer = torch.zeros(1, 1, dtype=torch.bool)
    expected = reference.get_audio_features(features, is_longer=is_longer).pooler_output
    found = reference.audio_projection(encoded(audio, Item(long)))
    assert_close(torch.nn.functional.normalize(found), torch.nn.functional.normalize(expected), atol=1e-5, rtol=1e-5)
    assert audio.head() is None


@torch.no_grad()
def test_pe_avs_audio_feature_is_what_its_head_takes(
    model: Callable[[str], Path], items: dict[str, list[Item]]
) -> None:
    folder = model("pe-av")
    audio, reference = AudioTower("pe-av", str(folder)), whole(folder)
    found = reference.audio_model.audio_head(encoded(audio, items["audio"][0]))
    expected = reference.get_audio_embeds(audio.prepare(items["audio"][0])[None])
    assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("seconds", "begin", "positions"), [(0.9, 0, 45), (2.0, 0, 100), (3.0, 8_000, 100)])
def test_whispers_feature_is_the_mean_over_the_clip_and_of_a_long_one_over_its_middle(
    seconds: float, begin: int, positions: int, model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = model("whisper")
    encoder = open_encoder(f"whisper-audio:{folder}")
    path = write_sound(tmp_path / "sound.wav", seconds)
    sound = read_sound(path, 16_000)[0, begin : begin + 32_000]  # the model takes 2 s
    mel = transformers.WhisperFeatureExtractor.from_pretrained(folder)(
        sound.numpy(), sampling_rate=16_000, return_tensors="pt"
    )["input_features"]
    expected = whole(folder).encoder(mel).last_hidden_state[:, :positions].mean(1)
    assert_close(encoder.encode(encoder.prepare(Item(path))[None])[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert encoder.head() is None


@torch.no_grad()
def test_a_sentence_is_the_mean_of_its_tokens(model: Callable[[str], Path], items: dict[str, list[Item]]) -> None:
    folder = model("sentence")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer([item.text for item in items["text"]], padding=True, truncation=True, return_tensors="pt")
    tokens = whole(folder)(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
    mask = given["attention_mask"][..., None]
    expected = (tokens * mask).sum(1) / mask.sum(1)
    encoder = open_encoder(f"sentence:{folder}")
    found = torch.cat([encoder.encode(encoder.prepare(item)[None])[:, 0] for item in items["text"]])
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_settings_of_sentence_transformers_are_respected(model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model("sentence"), tmp_path / "model"))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    assert len(open_encoder(f"sentence:{folder}").prepare(Item("a red cat and the sea"))) == 5
    (folder / "1_Pooling").mkdir()
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    refused: list[dict[str, Any]] = [{"pooling_mode_mean_tokens": False}, both, {"pooling_mode": "cls"}]
    for settings in refused:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
        with pytest.raises(InputError, match="does not use mean pooling over tokens"):
            open_encoder(f"sentence:{folder}")
    for settings in ({"pooling_mode": "mean"}, {**both, "pooling_mode_max_tokens": False}, {}):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
        open_encoder(f"sentence:{folder}")


def test_frames_are_views_and_each_is_a_picture(model: Callable[[str], Path], items: dict[str, list[Item]]) -> None:
    encoder = open_encoder(f"frames-clip:{model('clip')}")
    image = ImageTower("clip", str(model("clip")))
    item = items["video"][0]
    prepared = encoder.prepare(item)
    found = encoder.encode(prepared[None])
    assert found.shape == (1, 8, 48)
    for view, frame in enumerate(prepared):
        assert_close(found[0, view], image.encode(frame[None])[0, 0], atol=1e-5, rtol=1e-5)
    assert len({frame.numpy().tobytes() for frame in prepared}) == 8


def test_a_model_of_another_family_is_refused(model: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"type 'bert', but clip-image:sentence requires type clip or metaclip_2"):
        open_encoder(f"clip-image:{model('sentence')}")


def test_other_weights_or_preparation_have_another_fingerprint(model: Callable[[str], Path], tmp_path: Path) -> None:
    first = open_encoder(f"clip-image:{model('clip')}").fingerprint()
    weights, preparation = (Path(shutil.copytree(model("clip"), tmp_path / name / "clip")) for name in "ab")
    file = weights / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    settings = preparation / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace("32", "24"))
    for folder, changed in ((weights, "weights"), (preparation, "preparation")):
        other = open_encoder(f"clip-image:{folder}").fingerprint()
        assert {key for key in first if first[key] != other[key]} == {changed}


def test_pictures_are_seen_upright_and_in_colour(model: Callable[[str], Path], tmp_path: Path) -> None:
    encoder = ImageTower("clip", str(model("clip")))
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    Image.fromarray(red).save(tmp_path / "red.png")
    pixels = encoder.prepare(Item(tmp_path / "red.png"))
    assert pixels[0].mean() > pixels[1].mean()


@pytest.mark.parametrize(("family", "name"), [("clip", "clip-text"), ("siglip", "siglip-text"), ("clap", "clap-text"),
                                              ("pe-av", "pe-av-text"), ("sentence", "sentence")])  # fmt: skip
def test_longer_texts_are_truncated(
    family: str, name: str, model: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    encoder = open_encoder(f"{name}:{model(family)}")
    fits, longer = (
        Item(" ".join(["sea"] * (encoder.max_tokens - 2 + more))) for more in (0, 1)
    )  # first and last token
    caplog.clear()  # of what transformers says of its own default settings while a model is made
    assert not encoder.truncates(fits)
    assert encoder.truncates(longer)
    assert torch.equal(encoder.prepare(fits), encoder.prepare(longer))
    assert not caplog.records


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
        ('---\nlicense: other\nlicense_name: "cc-by-nc 4.0"\n---\n', "cc-by-nc 4.0"),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense: \x1b[2Jmit\n---\n", None),
        (None, None),
    ],
)
def test_the_licence_is_that_of_the_card(
    card: str | None, licence: str | None, model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(model("clip"), tmp_path / "clip")
    if card is not None:
        (folder / "README.md").write_text(card)
    encoders = {"image": open_encoder(f"clip-image:{folder}"), "video": open_encoder(f"frames-clip:{folder}")}
    told = f"{folder} weights, licence according to the model card: {licence}"
    assert licences_of(encoders) == ({} if licence is None else dict.fromkeys(encoders, told))
