"""Encoder of a Whisper model saved by transformers. A feature is the mean of the encoder's outputs over the clip.

    log-mel spectrogram of the clip, padded with silence to 30 s -> encoder -> mean of the outputs within the clip

The encoder has one output per 20 ms. See the module `whisper` for an encoder that needs no model folder and no padding.

Reference: A. Radford et al., Robust speech recognition via large-scale weak supervision (2022).
"""

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

_STRIDE = 2  # spectrogram columns per position of the output


@dataclass(frozen=True)
class SpeechTower(Pretrained):
    """Encoder of a Whisper model, for speech and other sound. It uses only the middle 30 s of a longer clip."""

    kind: ClassVar[Kind] = "audio"
    settings: ClassVar[str] = "16 kHz, channels averaged, mean over the clip"

    @property
    def width(self) -> int:
        """Width of the encoder's output."""
        return int(self.full_config.d_model)

    @cached_property
    def extractor(self) -> Any:
        """Feature extractor with the settings from preprocessor_config.json."""
        extractors = require("transformers", "encoders").WhisperFeatureExtractor
        return extractors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "bands_and_1 columns"]:
        """Return the log-mel spectrogram, with a mask as an additional last row: 1 in the clip, 0 in the padding."""
        rate = self.extractor.sampling_rate
        sound = sound_of(item, rate, float(self.extractor.chunk_length))
        inputs = self.extractor(sound.numpy(), sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
        return torch.cat([inputs["input_features"][0], inputs["attention_mask"].float()])

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n bands_and_1 columns"]) -> Float[Tensor, "n 1 width"]:
        """Return the encoder's output, averaged over the clip without the padding."""
        batch = batch.to(self.device)
        outputs: Tensor = self.model.encoder(batch[:, :-1]).last_hidden_state
        inside = batch[:, -1, ::_STRIDE, None]
        return ((outputs * inside).sum(1) / inside.sum(1)).float().cpu().unsqueeze(1)


@encoders.register("whisper-audio")
@encoder_factory("required", cites=("whisper",), aliases=("whisper",))
def whisper_audio(source: str, device: str) -> SpeechTower:
    """Encoder of any Whisper model. A feature is the mean of its outputs over the clip."""
    return SpeechTower("whisper", source, device)
