"""Audio towers of CLAP and PE-AV."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.optional import require
from omnidistill.encoding.encoders.decode import sound_of
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.pretrained import Pretrained


@dataclass(frozen=True)
class AudioTower(Pretrained):
    """Audio tower: CLAP's tower reads a log-mel spectrogram of 10 s, and PE-AV's tower reads a waveform at 48 kHz.

    If a sound is longer than 10 s, CLAP reads its middle 10 s. CLAP's own preprocessing would crop at random instead.
    """

    kind: ClassVar[Kind] = "audio"
    settings: ClassVar[str] = "48 kHz, channels averaged"

    @property
    def width(self) -> int:
        """Width of the pooled feature."""
        config = self.full_config
        return int(
            config.audio_config.hidden_size
            if self.family == "clap"
            else config.audio_video_config.audio_config.hidden_size
        )

    @cached_property
    def extractor(self) -> Any:
        """Feature extractor with the settings from preprocessor_config.json."""
        extractors = require("transformers", "encoders").AutoFeatureExtractor
        return extractors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "channels ..."]:
        """Return the model input for the sound of a clip."""
        max_seconds = float(self.extractor.max_length_s) if self.family == "clap" else None
        return self.waves(sound_of(item, self.extractor.sampling_rate, max_seconds))

    def waves(self, sound: Float[Tensor, " samples"]) -> Float[Tensor, "channels ..."]:
        """Return the model input for a decoded waveform."""
        inputs = self.extractor(sound.numpy(), sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        values: Tensor = inputs["input_features" if self.family == "clap" else "input_values"][0]
        return values

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n channels ..."]) -> Float[Tensor, "n 1 width"]:
        """Return the pooled features."""
        batch = batch.to(self.device)
        if self.family == "clap":
            is_longer = torch.zeros(len(batch), 1, dtype=torch.bool, device=self.device)
            pooled: Tensor = self.model.audio_model(input_features=batch, is_longer=is_longer).pooler_output
        else:
            pooled = self.model.audio_model.audio_encoder(input_values=batch).pooler_output
        return pooled.float().cpu().unsqueeze(1)


@encoders.register("clap-audio")
@encoder_factory("required", cites=("clap",), aliases=("clap",))
def clap_audio(source: str, device: str) -> AudioTower:
    """Audio tower of CLAP. A feature is the pooled output for a clip of 10 s."""
    return AudioTower("clap", source, device)


@encoders.register("pe-av-audio")
@encoder_factory("required")
def pe_av_audio(source: str, device: str) -> AudioTower:
    """Audio tower of PE-AV. A feature is the pooled output for a waveform."""
    return AudioTower("pe-av", source, device)
