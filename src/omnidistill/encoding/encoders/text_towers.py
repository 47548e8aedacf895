"""Text towers of the families, and any text model by the mean over its tokens (as sentence-transformers do).

Texts are cut to what the model reads and not padded, except for SigLIP, which was trained on padded ones: encoding
together only what has equally many tokens needs no mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.encoder import Item, Kind
from omnidistill.encoding.encoders.pretrained import Pretrained
from omnidistill.io.artifacts import read_json


@dataclass(frozen=True)
class TextTower(Pretrained):
    """Captions: ids of up to as many tokens as the model has positions for."""

    kind: ClassVar[Kind] = "text"
    settings: ClassVar[str] = "tokens"

    @property
    def width(self) -> int:
        """Of a token."""
        return int(self._text_config.hidden_size)

    @cached_property
    def tokenizer(self) -> Any:
        """Of the model's tokenizer files."""
        tokenizers = require("transformers", "encoders").AutoTokenizer
        return tokenizers.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    @property
    def longest(self) -> int:
        """The most tokens that are read."""
        positions = int(self._text_config.max_position_embeddings)
        if self._text_config.model_type in ("clap_text_model", "roberta", "xlm-roberta"):
            positions -= 2  # its positions are counted from 2
        return min(positions, int(self.tokenizer.model_max_length))

    def prepare(self, item: Item) -> Int[Tensor, " tokens"]:
        """Token ids, the special ones included."""
        padding = "max_length" if self.family == "siglip" else False
        made = self.tokenizer(item.text, truncation=True, max_length=self.longest, padding=padding)
        return torch.tensor(made["input_ids"])

    def truncates(self, item: Item) -> bool:
        """Whether the text has more tokens than are read."""
        return len(self.tokenizer(item.text, verbose=False)["input_ids"]) > self.longest

    @torch.no_grad()
    def encode(self, batch: Int[Tensor, "n tokens"]) -> Float[Tensor, "n 1 width"]:
        """One feature a text."""
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
class Sentence(TextTower):
    """Any text model, its token features averaged; not normalised.

    What sentence-transformers wrote beside it is kept to: the longest text, and that it averages at all.
    """

    family: str = field(default="sentence", kw_only=True)
    source: str = field(kw_only=True)

    def __post_init__(self) -> None:
        if not self._beside("1_Pooling/config.json").get("pooling_mode_mean_tokens", True):
            raise InputError(f"{self.source}: pools its tokens otherwise than by their mean; only that is known")

    @property
    def longest(self) -> int:
        """The most tokens that are read."""
        return min(super().longest, int(self._beside("sentence_bert_config.json").get("max_seq_length") or 1 << 30))

    def _pooled(self, ids: Tensor) -> Tensor:
        tokens: Tensor = self.model(input_ids=ids).last_hidden_state
        return tokens.mean(1)

    def _beside(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        found: dict[str, Any] = read_json(path) if path.is_file() else {}
        return found

    @property
    def _text_config(self) -> Any:
        return self.full_config
