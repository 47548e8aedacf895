"""Towers of models saved by transformers, in a folder or on the Hugging Face hub at a fixed revision.

| family | model types | towers | feature before the projection |
|---|---|---|---|
| clip | clip, metaclip_2 | image, text | class token; text: end token |
| siglip | siglip, siglip2 (any aspect ratio) | image, text | attention-pooled; text: last token |
| clap | clap | audio, text | pooled |
| pe-av | pe_audio_video | audio, video, text | pooled; text: first token |
| whisper | whisper | audio | mean over the clip |

Only CLIP's projections are single matrices applied to these features. SigLIP has no image projection, and its text
projection has a bias. CLAP's projections have two layers, and PE-AV's projections start with a LayerNorm.
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
    """Base class for the towers: weights, settings, licence and fingerprint of a transformers model.

    Attributes:
        family: key of `FAMILIES`.
        source: folder of the model, or OWNER/NAME@REVISION on the Hugging Face hub.
        device: device for the weights.
        title: name of the encoder; if None, the name is derived from family, kind and source.
    """

    family: str
    source: str
    device: str = "cpu"
    title: str | None = None

    kind: ClassVar[Kind]
    settings: ClassVar[str]
    """Preprocessing that is not determined by the model's settings files. It is part of the fingerprint."""

    def __post_init__(self) -> None:
        model_type = self.config.get("model_type")
        if model_type not in FAMILIES[self.family]:
            raise InputError(
                f"{self.source}: contains a model of type {model_type!r}; {self.name} requires type "
                f"{' or '.join(FAMILIES[self.family])}"
            )

    @property
    def name(self) -> str:
        """The title if there is one, otherwise FAMILY-KIND:SOURCE with only the last part of the path in `source`."""
        return self.title or f"{self.family}-{self.kind}:{Path(self.source).name}"

    @property
    def views(self) -> int:
        """Number of features per item, which is 1 for these encoders."""
        return 1

    @cached_property
    def folder(self) -> Path:
        """Folder with the weights and settings."""
        return model_folder(self.source)

    @cached_property
    def config(self) -> dict[str, Json]:
        """Content of config.json."""
        return model_config(self.folder)

    @property
    def licence(self) -> str | None:
        """Licence from the model card; None if the card states no licence."""
        licence = card_licence(self.folder)
        return (
            None
            if licence is None
            else f"{self.title or self.source} weights, licence according to the model card: {licence}"
        )

    @cached_property
    def full_config(self) -> Any:
        """The model's configuration as transformers loads it, with default values for missing settings."""
        return require("transformers", "encoders").AutoConfig.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def model(self) -> Any:
        """The complete, frozen model."""
        require("transformers.utils.logging", "encoders").disable_progress_bar()  # for loading weights
        models = require("transformers", "encoders").AutoModel
        model = models.from_pretrained(
            self.folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
        return model.eval().requires_grad_(False).to(self.device)

    def head(self) -> Tensor | None:
        """Return CLIP's projection; None for other families."""
        if self.family != "clip":
            return None
        projection = self.model.visual_projection if self.kind == "image" else self.model.text_projection
        weight: Tensor = projection.weight
        return weight.cpu()

    def fingerprint(self) -> dict[str, str]:
        """Return the checksums of the weights and settings, and the versions of the packages that process them."""
        settings_files = [path for path in sorted(self.folder.glob("*.json")) if path.name != "config.json"]
        return {
            "name": self.name,
            "weights": sha256_of(weight_files(self.folder)),
            "config": digest(self.config),
            "preparation": f"{self.settings} {sha256_of(settings_files)[:12]}",
            "transformers": version("transformers"),
            **decoders(self.kind),
        }
