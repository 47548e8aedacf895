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
from omnidistill.encoding.encoders.pretrained import Pretrained


@dataclass(frozen=True)
class SoundTower(Pretrained):
    """Sounds: a log-mel spectrogram of 10 s for CLAP, the waveform at 48 kHz for PE-AV.

    Of a longer sound CLAP gets the middle: its own preparation would take a stretch at random.
    """

    kind: ClassVar[Kind] = "audio"
    settings: ClassVar[str] = "48 kHz, channels averaged"

    @property
    def width(self) -> int:
        """Of the pooled feature."""
        config = self.full_config
        return int(
            config.audio_config.hidden_size
            if self.family == "clap"
            else config.audio_video_config.audio_config.hidden_size
        )

    @cached_property
    def extractor(self) -> Any:
        """Spectrogram or padding, as the model's preprocessor_config.json says."""
        extractors = require("transformers", "encoders").AutoFeatureExtractor
        return extractors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "channels ..."]:
        """The model's input for the clip."""
        longest = float(self.extractor.max_length_s) if self.family == "clap" else None
        return self.waves(sound_of(item, self.extractor.sampling_rate, longest))

    def waves(self, sound: Float[Tensor, " samples"]) -> Float[Tensor, "channels ..."]:
        """That of a waveform that is decoded already."""
        made = self.extractor(sound.numpy(), sampling_rate=self.extractor.sampling_rate, return_tensors="pt")
        values: Tensor = made["input_features" if self.family == "clap" else "input_values"][0]
        return values

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n channels ..."]) -> Float[Tensor, "n 1 width"]:
        """Pooled features."""
        batch = batch.to(self.device)
        if self.family == "clap":
            whole = torch.zeros(len(batch), 1, dtype=torch.bool, device=self.device)
            pooled: Tensor = self.model.audio_model(input_features=batch, is_longer=whole).pooler_output
        else:
            pooled = self.model.audio_model.audio_encoder(input_values=batch).pooler_output
        return pooled.float().cpu().unsqueeze(1)
