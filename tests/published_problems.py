"""Tiny models of the published structures with random weights, and what the published code computes with them."""

from __future__ import annotations

import json
import math
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from omnidistill.encoding.encoders.imagebind import imagebind_towers as imagebind

DATA = Path(__file__).parent / "encoding" / "published"
TINY_IMAGEBIND = {modality: imagebind.Size(16, 2, 2, 8) for modality in imagebind.MODALITIES}


def golden(name: str) -> dict[str, Tensor]:
    """`expected.*`, `input.text` and `weights.KEY` of a tiny model."""
    return load_file(DATA / f"{name}-tiny.safetensors")


def weights(name: str) -> dict[str, Tensor]:
    """Its state dict."""
    return {key.removeprefix("weights."): x for key, x in golden(name).items() if key.startswith("weights.")}


def huge_shapes() -> dict[str, list[int]]:
    """{key: shape} of the published `imagebind_huge`."""
    return json.loads((DATA / "imagebind-huge-keys.json").read_text("utf-8"))


def wave(*shape: int) -> Tensor:
    """sin(0.1 k), the input of the expected outputs."""
    return torch.sin(0.1 * torch.arange(math.prod(shape), dtype=torch.float64)).float().view(shape)


def languagebind_state() -> dict[str, Tensor]:
    """Its state dict, with projections to 8, which the golden file leaves out."""
    draw = torch.Generator().manual_seed(0)
    heads = {f"{part}_projection.weight": torch.randn(8, 16, generator=draw) for part in ("visual", "text")}
    return weights("languagebind") | heads | {"logit_scale": torch.tensor(4.6)}


def write_vocabulary(folder: Path) -> Path:
    """As many merges as CLIP has, made up."""
    letters = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 290)]]
    merges = "".join(f"{a} {b}\n" for a, b in islice(product(letters, letters), 48_894))
    path = folder / "merges.txt"
    path.write_text(f"#version\n{merges}", "utf-8")
    return path


def languagebind_folder(folder: Path, tensors: dict[str, Tensor], **vision: Any) -> Path:
    """A model as it is published: config.json and a file of PyTorch's."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"num_attention_heads": 2, "hidden_act": "gelu"}
    config = {"vision_config": known | vision, "text_config": known}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder
