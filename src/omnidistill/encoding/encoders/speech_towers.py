"""Whisper's encoder from a transformers model: its output, averaged over the part of 30 s that the clip fills.

    log-mel of the clip, padded with silence to 30 s -> encoder -> mean of the positions (20 ms each) in the clip

Source: A. Radford et al., Robust speech recognition via large-scale weak supervision (2022). `whisper` has the same of
weights that come with packages, without the padding.
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
from omnidistill.encoding.encoders.pretrained import Pretrained

_STRIDE = 2  # columns of the spectrogram a position


@dataclass(frozen=True)
class SpeechTower(Pretrained):
    """Speech and sound. Of a longer clip than the model takes (30 s) the middle."""

    kind: ClassVar[Kind] = "audio"
    settings: ClassVar[str] = "16 kHz, channels averaged, mean over the clip"

    @property
    def width(self) -> int:
        """Of the encoder."""
        return int(self.full_config.d_model)

    @cached_property
    def extractor(self) -> Any:
        """The log-mel's settings, as the model's preprocessor_config.json says."""
        extractors = require("transformers", "encoders").WhisperFeatureExtractor
        return extractors.from_pretrained(self.folder, local_files_only=True)

    def prepare(self, item: Item) -> Float[Tensor, "bands_and_1 columns"]:
        """The log-mel spectrogram, and below it 1 where the clip is."""
        rate = self.extractor.sampling_rate
        sound = sound_of(item, rate, float(self.extractor.chunk_length))
        made = self.extractor(sound.numpy(), sampling_rate=rate, return_attention_mask=True, return_tensors="pt")
        return torch.cat([made["input_features"][0], made["attention_mask"].float()])

    @torch.no_grad()
    def encode(self, batch: Float[Tensor, "n bands_and_1 columns"]) -> Float[Tensor, "n 1 width"]:
        """Averages over the positions of the clip."""
        batch = batch.to(self.device)
        outputs: Tensor = self.model.encoder(batch[:, :-1]).last_hidden_state
        inside = batch[:, -1, ::_STRIDE, None]
        return ((outputs * inside).sum(1) / inside.sum(1)).float().cpu().unsqueeze(1)
