"""From a published model to its two towers: strict keys, adapters merged, models of other kinds refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.languagebind.load_languagebind import convert, load
from omnidistill.io.artifacts import load_artifact
from published_problems import golden, languagebind_folder, languagebind_state, wave


def with_adapters(state: dict[str, Tensor], alpha: float, rank: int, newer: bool) -> dict[str, Tensor]:
    """The same model as peft stores it: every temporal projection is less what its adapter will add."""
    draw = torch.Generator().manual_seed(1)
    adapted = {}
    for key, tensor in state.items():
        name = key.replace("vision_model.encoder.", "vision_model.encoder.base_model.model.")
        layer, _, last = name.rpartition(".")
        if ".temporal_attn." not in key:
            adapted[name] = tensor
            continue
        base = f"{layer}.base_layer.{last}" if newer else name
        adapted[base] = tensor
        if last == "weight":
            a, b = torch.randn(rank, 16, generator=draw), torch.randn(16, rank, generator=draw)
            adapted[f"{layer}.lora_A.default.weight"], adapted[f"{layer}.lora_B.default.weight"] = a, b
            adapted[base] = tensor - (alpha / rank) * (b @ a)
    return adapted


def test_both_towers_come_back_and_give_the_published_features(tmp_path: Path) -> None:
    source = languagebind_folder(tmp_path / "model", languagebind_state())
    convert(source, tmp_path / "towers", "video")
    tensors = golden("languagebind")
    for modality, x in (("video", wave(2, 3, 8, 224, 224)), ("text", tensors["input.text"])):
        loaded = load(tmp_path / "towers", modality)
        expected = tensors[f"expected.{modality}.features"]
        torch.testing.assert_close(loaded.tower.features(x), expected, atol=1e-5, rtol=0)
        artifact = load_artifact(tmp_path / "towers" / modality, "encoder")
        assert artifact.files[0].sha256 == loaded.sha256
        assert artifact.meta["source"]["file"] == "pytorch_model.bin"


@pytest.mark.parametrize("newer", [False, True])
def test_adapters_are_merged(tmp_path: Path, newer: bool) -> None:
    state = with_adapters(languagebind_state(), alpha=6.0, rank=3, newer=newer)
    convert(languagebind_folder(tmp_path / "model", state, lora_alpha=6.0), tmp_path / "towers", "video")
    features = load(tmp_path / "towers", "video").tower.features(wave(2, 3, 8, 224, 224))
    torch.testing.assert_close(features, golden("languagebind")["expected.video.features"], atol=2e-5, rtol=0)
    weaker = languagebind_folder(tmp_path / "weaker", state, lora_alpha=3)
    convert(weaker, tmp_path / "others", "video")
    assert not torch.allclose(
        load(tmp_path / "others", "video").tower.features(wave(2, 3, 8, 224, 224)), features, atol=1e-3
    )


def test_position_ids_of_older_releases_are_passed_over(tmp_path: Path) -> None:
    ids = {f"{part}_model.embeddings.position_ids": torch.arange(77)[None] for part in ("vision", "text")}
    convert(languagebind_folder(tmp_path / "model", languagebind_state() | ids), tmp_path / "towers", "video")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visual_projection.weight": None}, r"'visual_projection\.weight' is missing; pass the complete files"),
        ({"vision_model.pre_layrnorm.bias": torch.zeros(3)}, r"pre_layrnorm\.bias' has dtype float32 and shape \(3,\)"),
        ({"vision_model.other": torch.zeros(3)}, r"'vision_model\.other' is not a weight of languagebind"),
        ({"vision_model.embeddings.patch_embedding.weight": torch.zeros(16, 3, 2, 14, 14)}, r"V1\.5 models"),
        (
            {"text_model.x.lora_A.default.weight": torch.zeros(2, 16)},
            r"'text_model\.x.*adapter is incomplete; it needs lora_A, lora_B",
        ),
    ],
)
def test_another_model_is_refused(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    state = {key: tensor for key, tensor in (languagebind_state() | change).items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        convert(languagebind_folder(tmp_path / "model", state), tmp_path / "towers", "video")
    assert not (tmp_path / "towers").exists()


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_video_model_is_no_other(tmp_path: Path, modality: Literal["image", "audio"]) -> None:
    source = languagebind_folder(tmp_path / "model", languagebind_state())
    with pytest.raises(InputError, match=rf"the model reads 8 x 257 tokens .*, but a model for {modality} reads 1 x"):
        convert(source, tmp_path / "towers", modality)


def test_adapters_need_their_strength(tmp_path: Path) -> None:
    state = with_adapters(languagebind_state(), alpha=6.0, rank=3, newer=True)
    with pytest.raises(InputError, match=r"pytorch_model\.bin: .* is missing; set lora_alpha in config\.json"):
        convert(languagebind_folder(tmp_path / "model", state), tmp_path / "towers", "video")


def test_an_adapter_fits_its_weight(tmp_path: Path) -> None:
    state = with_adapters(languagebind_state(), alpha=6.0, rank=3, newer=True)
    key = next(key for key in state if key.endswith("lora_B.default.weight"))
    state[key] = torch.zeros(16, 4)
    with pytest.raises(
        InputError, match=r"a LoRA adapter of shape \(16, 4\) times \(3, 16\) does not fit a weight of shape \(16, 16\)"
    ):
        convert(languagebind_folder(tmp_path / "model", state, lora_alpha=6.0), tmp_path / "towers", "video")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "contains no section vision_config"),
        ({"vision_config": {"num_attention_heads": 2, "hidden_act": "quick_gelu"}}, "= 2 and hidden_act = 'quick_"),
        ({"vision_config": {"hidden_act": "gelu"}}, "= None and hidden_act = 'gelu'"),
    ],
)
def test_the_configuration_must_say_what_shapes_do_not(tmp_path: Path, config: dict[str, object], message: str) -> None:
    source = languagebind_folder(tmp_path / "model", languagebind_state())
    (source / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(InputError, match=rf"config\.json: .*{message}"):
        convert(source, tmp_path / "towers", "video")


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model\.safetensors or pytorch_model\.bin; expected"):
        convert(tmp_path, tmp_path / "towers", "video")
