"""The encoder of Whisper in PyTorch, with weights from a model file of CTranslate2.

CTranslate2 itself cannot compute gradients. The layers are

    log-mel spectrogram (bands x t) -> two convolutions (width 3, the second with stride 2), each followed by GELU
        -> add position encodings -> blocks: x + attention(norm(x)), then x + mlp(norm(x)) -> norm

Reference: A. Radford et al., Robust speech recognition via large-scale weak supervision (2022), section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from omnidistill.core.errors import InputError
from omnidistill.encoding.encoders.ctranslate2_file import read_variables


class WhisperTower(nn.Module):
    """The encoder of Whisper, frozen and in float32."""

    def __init__(self, weights: Mapping[str, Tensor], num_heads: int) -> None:
        """Store the weights.

        Args:
            weights: the weights by their names in the CTranslate2 file, without the prefix `encoder/`.
            num_heads: number of attention heads.
        """
        super().__init__()
        self.num_heads = num_heads
        self.num_blocks = len(
            {name.split("/")[0] for name in weights if name.startswith("layer_") and name[6].isdigit()}
        )
        for name, tensor in weights.items():
            self.register_buffer(_buffer(name), tensor)

    def forward(self, mels: Float[Tensor, "n bands times"]) -> Float[Tensor, "n half width"]:
        """Return one output for every two columns of the spectrogram."""
        x = F.gelu(F.conv1d(mels, self._get("conv1/weight"), self._get("conv1/bias"), padding=1))
        x = F.gelu(F.conv1d(x, self._get("conv2/weight"), self._get("conv2/bias"), stride=2, padding=1)).mT
        x = x + self._get("position_encodings/encodings")[: x.shape[1]]
        for block in range(self.num_blocks):
            x = x + self._attention(self._norm(x, f"layer_{block}/self_attention/"), f"layer_{block}/self_attention/")
            hidden = self._linear(self._norm(x, f"layer_{block}/ffn/"), f"layer_{block}/ffn/linear_0")
            x = x + self._linear(F.gelu(hidden), f"layer_{block}/ffn/linear_1")
        return self._norm(x, "")

    def _attention(self, x: Tensor, place: str) -> Tensor:
        parts = self._linear(x, f"{place}linear_0").chunk(3, -1)
        query, key, value = (torch.unflatten(part, -1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self._linear(mixed.transpose(1, 2).flatten(2), f"{place}linear_1")

    def _linear(self, x: Tensor, place: str) -> Tensor:
        return F.linear(x, self._get(f"{place}/weight"), self._get(f"{place}/bias"))

    def _norm(self, x: Tensor, place: str) -> Tensor:
        gamma, beta = self._get(f"{place}layer_norm/gamma"), self._get(f"{place}layer_norm/beta")
        return F.layer_norm(x, gamma.shape, gamma, beta)

    def _get(self, name: str) -> Tensor:
        return self.get_buffer(_buffer(name))


def load_tower(path: Path) -> WhisperTower:
    """Load the encoder of a Whisper model from a CTranslate2 file with floating-point weights.

    Raises:
        InputError: the file cannot be read, or is not a Whisper model.
    """
    weights = read_variables(path, "encoder/")
    heads = weights.pop("num_heads", None)
    if heads is None or "conv1/weight" not in weights:
        raise InputError(f"{path}: contains no encoder of a Whisper model; pass the model.bin of a Whisper model")
    return WhisperTower(weights, int(heads))


def _buffer(name: str) -> str:
    return name.replace("/", "_")
