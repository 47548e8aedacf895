"""Raw rows that are read a few at a time, so that a set may be larger than memory: of mapped tensors, or of shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from pydantic import JsonValue
from torch import Tensor

from omnidistill.data.raw import RawFeatures

_NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class RawRows:
    """What `RawFeatures` holds, its rows still where they are.

    widths: {modality: p_m}. read: the rows of these numbers of a modality, k x p_m in the type they are stored in.
    """

    widths: dict[str, int]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    provenance: dict[str, JsonValue]
    read: Callable[[str, Int[Tensor, " k"]], Float[Tensor, "k _"]]

    @classmethod
    def of(cls, raw: RawFeatures) -> RawRows:
        """Those of tensors, read by gathering."""
        widths = {name: x.shape[1] for name, x in raw.features.items()}
        return cls(widths, raw.ids, raw.groups, raw.splits, raw.provenance, lambda name, rows: raw.features[name][rows])

    def chunks(self, name: str, rows: Int[Tensor, " n"]) -> Iterator[tuple[Int[Tensor, " k"], Float[Tensor, "k p"]]]:
        """The rows of these numbers, some 4 MB in float32 at a time, each chunk with its numbers; as many rows a chunk
        whatever they are read from.
        """
        for part in torch.split(rows, max(1, _NUMBERS_AT_ONCE // self.widths[name])):
            yield part, self.read(name, part)
