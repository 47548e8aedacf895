"""Towers of models saved in the manner of transformers, from a folder or a hub id with its revision.

| family | model types | towers | feature before the projection |
|---|---|---|---|
| clip | clip, metaclip_2 | image, text | pooled (class token; text: at the end token) |
| siglip | siglip, siglip2 (any aspect) | image, text | attention-pooled; text: last token |
| clap | clap | audio, text | pooled |
| pe-av | pe_audio_video | audio, video, text | pooled; text: first token |
| whisper | whisper | audio | mean over the clip |

Only CLIP's projections are one matrix on these features: SigLIP's image tower has none and that of its text has a bias,
those of CLAP are two layers, and those of PE-AV begin with a LayerNorm of their own.
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
"""{family: model types, as config.json names them}."""


@dataclass(frozen=True)
class Pretrained(Lazy):
    """What the towers share.

    family: of `FAMILIES`. source: folder, or OWNER/NAME@REVISION. device: of the weights. title: a name of its own.
    """

    family: str
    source: str
    device: str = "cpu"
    title: str | None = None

    kind: ClassVar[Kind]
    settings: ClassVar[str]
    """The file that holds how items are prepared, beside the weights."""

    def __post_init__(self) -> None:
        found = self.config.get("model_type")
        if found not in FAMILIES[self.family]:
            raise InputError(
                f"{self.source}: holds a model of type {found!r}; {self.name} reads {', '.join(FAMILIES[self.family])}"
            )

    @property
    def name(self) -> str:
        """The title, or `clip-image:SOURCE`, with the last part of the source."""
        return self.title or f"{self.family}-{self.kind}:{Path(self.source).name}"

    @property
    def views(self) -> int:
        """One."""
        return 1

    @cached_property
    def folder(self) -> Path:
        """Where weights and settings lie."""
        return model_folder(self.source)

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, as it is."""
        return model_config(self.folder)

    @property
    def licence(self) -> str | None:
        """As the card beside the weights says it."""
        named = card_licence(self.folder)
        return None if named is None else f"{self.title or self.source} weights, by their card: {named}"

    @cached_property
    def full_config(self) -> Any:
        """The configuration of transformers, its defaults filled in."""
        return require("transformers", "encoders").AutoConfig.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def model(self) -> Any:
        """The whole model, frozen."""
        require("transformers.utils.logging", "encoders").disable_progress_bar()  # of the weights; ours stays
        models = require("transformers", "encoders").AutoModel
        model = models.from_pretrained(
            self.folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
        return model.eval().requires_grad_(False).to(self.device)

    def head(self) -> Tensor | None:
        """CLIP's projection; None for other families."""
        if self.family != "clip":
            return None
        projection = self.model.visual_projection if self.kind == "image" else self.model.text_projection
        weight: Tensor = projection.weight
        return weight.cpu()

    def fingerprint(self) -> dict[str, str]:
        """Weights and settings by their sha256, and the versions whose code decides the rest."""
        prepared = [path for path in sorted(self.folder.glob("*.json")) if path.name != "config.json"]
        return {
            "name": self.name,
            "weights": sha256_of(weight_files(self.folder)),
            "config": digest(self.config),
            "preparation": f"{self.settings} {sha256_of(prepared)[:12]}",
            "transformers": version("transformers"),
            **decoders(self.kind),
        }
