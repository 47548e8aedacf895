"""Convert a published LanguageBind model into one folder per tower, and load a tower from its folder.

The dimensions of a tower are derived from the shapes of its weights. The number of attention heads and the scale of the
low-rank adapters (LoRA) are read from config.json. Models without `_FT` in their name have adapters, which are merged
into the weights. V1.5 models are not supported, because they use patches that span several frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.languagebind.languagebind_towers import Size, Tower, VisionTower, empty_tower
from omnidistill.encoding.encoders.languagebind.lora import merge_lora
from omnidistill.encoding.encoders.published_weights import check_weights, file_sha256, read_checkpoint
from omnidistill.encoding.encoders.stored_tower import store_tower, stored_tower
from omnidistill.io.input_files import read_json

Modality = Literal["video", "image", "audio", "depth", "thermal"]

LICENCE = "LanguageBind weights, Yuan Group of Peking University, MIT"
_MODEL = "languagebind"
_FRAMES_AND_POSITIONS = {"video": (8, 257), "audio": (1, 593)}
_STILL = (1, 257)
_NO_WEIGHTS = ("logit_scale", "vision_model.embeddings.position_ids", "text_model.embeddings.position_ids")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_VISION = {
    "class_token": "vision_model.embeddings.class_embedding",
    "patches": "vision_model.embeddings.patch_embedding",
    "positions": "vision_model.embeddings.position_embedding",
    "pre_norm": "vision_model.pre_layrnorm",
    "layers": "vision_model.encoder.layers",
    "post_norm": "vision_model.post_layernorm",
    "projection": "visual_projection",
}
_TEXT = {
    "tokens": "text_model.embeddings.token_embedding",
    "positions": "text_model.embeddings.position_embedding",
    "layers": "text_model.encoder.layers",
    "post_norm": "text_model.final_layer_norm",
    "projection": "text_projection",
}


class Loaded(NamedTuple):
    """A tower with loaded weights, and the sha256 of the weights as 64 hex digits."""

    tower: Tower
    sha256: str


def convert(source: Path, folder: Path, modality: Modality) -> None:
    """Convert the two towers of a published model: one for texts, and one for another modality, such as videos.

    Args:
        source: folder of the published model, with config.json and the weights.
        folder: output folder; each tower is written to a subfolder.
        modality: the other modality, such as "video".

    Raises:
        InputError: a file is missing or cannot be read; a weight is missing, unknown or has the wrong shape; the model
            is not supported; or a tower cannot be written.
    """
    weights = next((source / name for name in _WEIGHTS if (source / name).is_file()), None)
    if weights is None:
        raise InputError(
            f"{source}: contains no {' or '.join(_WEIGHTS)}; expected the folder of a published LanguageBind model"
        )
    vision, text = _configs(source / "config.json")
    tensors = _merged(weights, vision.get("lora_alpha"))
    sizes = {
        modality: _size(tensors, "vision_model", "visual_projection.weight", vision, weights),
        "text": _size(tensors, "text_model", "text_projection.weight", text, weights),
    }
    shape = (sizes[modality].num_frames, sizes[modality].num_positions)
    if shape != (expected := _FRAMES_AND_POSITIONS.get(modality, _STILL)):
        raise InputError(
            f"{weights}: the model reads {shape[0]} x {shape[1]} tokens (frames x tokens per frame), but a model for "
            f"{modality} reads {expected[0]} x {expected[1]}; check the modality and the input size"
        )
    towers = {name: _weights(empty_tower(size)) for name, size in sizes.items()}
    check_weights(tensors, {k: x for each in towers.values() for k, x in each.items()}, weights, _MODEL)
    origin = {"file": weights.name, "sha256": file_sha256(weights)}
    for name, size in sizes.items():
        store_tower(folder, _MODEL, name, {key: tensors[key] for key in towers[name]}, size, LICENCE, origin)


def load(folder: Path, modality: Modality | Literal["text"], verify: bool = True) -> Loaded:
    """Load a tower that `convert` wrote. The weights are memory-mapped on the CPU.

    Args:
        folder: folder that `convert` wrote.
        modality: modality of the tower to load.
        verify: whether to verify the sha256 of the weights.

    Raises:
        InputError: the weights are missing or damaged, or belong to another tower.
    """
    stored = stored_tower(folder, _MODEL, modality, Size, verify)
    tower = empty_tower(stored.size)
    check_weights(stored.tensors, _weights(tower), folder / modality, _MODEL)
    own = {name: stored.tensors[published_name(tower, name)] for name in tower.state_dict()}
    tower.load_state_dict(own, assign=True)
    return Loaded(tower.requires_grad_(False), stored.sha256)


def published_name(tower: Tower, name: str) -> str:
    """Return the key in the published state dict for the parameter `name` of a tower."""
    part, dot, rest = name.partition(".")
    return f"{(_VISION if isinstance(tower, VisionTower) else _TEXT)[part]}{dot}{rest}"


def _weights(tower: Tower) -> dict[str, Tensor]:
    return {published_name(tower, name): tensor for name, tensor in tower.state_dict().items()}


def _merged(path: Path, alpha: object) -> dict[str, Tensor]:
    """Read the weights of both towers, and merge the low-rank adapters into the weights."""
    tensors = read_checkpoint(path)
    if any(key.endswith("patch_embedding.weight") and x.ndim == 5 for key, x in tensors.items()):
        raise InputError(f"{path}: LanguageBind V1.5 models are not supported; use a model without V1.5 in its name")
    try:
        tensors = merge_lora(tensors, float(alpha) if isinstance(alpha, int | float) else None)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {key: tensor for key, tensor in tensors.items() if key not in _NO_WEIGHTS}


def _configs(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the configurations of the vision tower and the text tower from config.json."""
    config = read_json(path)
    configs = []
    for part in ("vision_config", "text_config"):
        match config.get(part):
            case {"num_attention_heads": int(), "hidden_act": "gelu"} as supported:
                configs.append(supported)
            case dict(other):
                heads, activation = other.get("num_attention_heads"), other.get("hidden_act")
                raise InputError(
                    f"{path}: {part} has num_attention_heads = {heads!r} and hidden_act = {activation!r}, but needs "
                    "an integer and 'gelu'; pass the config.json of a published LanguageBind model"
                )
            case _:
                raise InputError(
                    f"{path}: contains no section {part}; pass the folder of a published LanguageBind model"
                )
    return configs[0], configs[1]


def _size(tensors: Mapping[str, Tensor], part: str, head: str, config: Mapping[str, Any], path: Path) -> Size:
    """Derive the dimensions of a tower from the shapes of its weights."""
    layers = f"{part}.encoder.layers"
    try:
        mlp_width, width = tensors[f"{layers}.0.mlp.fc1.weight"].shape
        temporal = tensors.get(f"{layers}.0.temporal_embedding")
        is_vision = part == "vision_model"
        return Size(
            width=width,
            num_layers=1 + max(int(key.split(".")[3]) for key in tensors if key.startswith(layers)),
            num_heads=config["num_attention_heads"],
            mlp_width=mlp_width,
            output=len(tensors[head]),
            num_frames=1 if temporal is None else temporal.shape[1],
            patch=tensors[f"{part}.embeddings.patch_embedding.weight"].shape[-1] if is_vision else 0,
            num_positions=len(tensors[f"{part}.embeddings.position_embedding.weight"]) if is_vision else 0,
        )
    except KeyError as error:
        raise InputError(
            f"{path}: key {error.args[0]!r} is missing; pass the complete files of a published {_MODEL} model"
        ) from error
