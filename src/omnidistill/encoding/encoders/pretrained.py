"""Encoders of pretrained `transformers` models, from a folder or from a fixed revision on the Hugging Face Hub.

| family | model types | encoders | feature |
|---|---|---|---|
| clip | clip, metaclip_2 | image, text | class token; for text the end token |
| siglip | siglip, siglip2 (any aspect ratio) | image, text | attention pooling; for text the last token |
| clap | clap | audio, text | pooled output |
| pe-av | pe_audio_video | audio, video, text | pooled output; for text the first token |
| whisper | whisper | audio | mean of the outputs within the clip |

Features are taken before the model's own projection. CLIP's projection is a single matrix, so it can serve as a
projection head. The other families have no such matrix: SigLIP has no image projection, and its text projection has a
bias; CLAP's projections have two layers; PE-AV's projections start with a LayerNorm; Whisper has no projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import decoders
from omnidistill.encoding.encoders.encoder import Kind, Lazy
from omnidistill.encoding.encoders.weights import (
    card_licence,
    digest,
    model_config,
    model_folder,
    sha256_of,
    weight_files,
)

FAMILIES = {
    "clip": ("clip", "metaclip_2"),
    "siglip": ("siglip", "siglip2"),
    "clap": ("clap",),
    "pe-av": ("pe_audio_video",),
    "whisper": ("whisper",),
}
"""The model types of each family, as named in config.json."""


@dataclass(frozen=True)
class Pretrained(Lazy):
    """Base class for encoders of a `transformers` model: weights, settings, licence and fingerprint.

    Attributes:
        family: key of `FAMILIES`.
        source: folder of the model, or OWNER/NAME@REVISION on the Hugging Face Hub.
        device: device for the weights.
        title: name of the encoder; if None, the name is derived from family, kind and source.
    """

    family: str
    source: str
    device: str = "cpu"
    title: str | None = None

    kind: ClassVar[Kind]
    settings: ClassVar[str]
    """Description of the preprocessing that the model's settings files do not determine. It is part of the
    fingerprint."""

    def __post_init__(self) -> None:
        model_type = self.config.get("model_type")
        if model_type not in FAMILIES[self.family]:
            raise InputError(
                f"{self.source}: contains a model of type {model_type!r}, but {self.name} requires type "
                f"{' or '.join(FAMILIES[self.family])}; pass another model"
            )

    @property
    def name(self) -> str:
        """Name of the encoder: its title, or FAMILY-KIND:NAME, where NAME is the last part of `source`."""
        return self.title or f"{self.family}-{self.kind}:{Path(self.source).name}"

    @property
    def views(self) -> int:
        """Number of features per item."""
        return 1

    @cached_property
    def folder(self) -> Path:
        """Folder with the files of the model."""
        return model_folder(self.source)

    @cached_property
    def config(self) -> dict[str, Json]:
        """Content of config.json."""
        return model_config(self.folder)

    @property
    def licence(self) -> str | None:
        """Licence according to the model card; None if the card states none."""
        licence = card_licence(self.folder)
        return (
            None
            if licence is None
            else f"{self.title or self.source} weights, licence according to the model card: {licence}"
        )

    @cached_property
    def full_config(self) -> Any:
        """The configuration of the model as `transformers` loads it, with default values."""
        return require("transformers", "encoders").AutoConfig.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def model(self) -> Any:
        """The complete model, without gradients."""
        require("transformers.utils.logging", "encoders").disable_progress_bar()  # for loading weights
        models = require("transformers", "encoders").AutoModel
        model = models.from_pretrained(
            self.folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
        return model.eval().requires_grad_(False).to(self.device)

    def head(self) -> Tensor | None:
        """Return the matrix of CLIP's projection head, or None for other families."""
        if self.family != "clip":
            return None
        projection = self.model.visual_projection if self.kind == "image" else self.model.text_projection
        weight: Tensor = projection.weight
        return weight.cpu()

    def fingerprint(self) -> dict[str, str]:
        """Return the checksums of the weights and settings, and the versions of the packages that read them."""
        settings_files = [path for path in sorted(self.folder.glob("*.json")) if path.name != "config.json"]
        return {
            "name": self.name,
            "weights": sha256_of(weight_files(self.folder)),
            "config": digest(self.config),
            "preparation": f"{self.settings} {sha256_of(settings_files)[:12]}",
            "transformers": version("transformers"),
            **decoders(self.kind),
        }
