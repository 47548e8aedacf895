"""Raw rows that are read in chunks from memory-mapped tensors or shards. A dataset may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.json_value import Json
from omnidistill.data.raw import RawFeatures

_NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class RawRows:
    """`RawFeatures` whose rows are read on demand.

    Attributes:
        widths: {modality: width of its rows}.
        ids, groups, splits, provenance: see `RawFeatures`.
        read: function that takes a modality and k row numbers, and returns these rows (k x width) in their stored type.
    """

    widths: dict[str, int]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    provenance: dict[str, Json]
    read: Callable[[str, Int[Tensor, " k"]], Float[Tensor, "k _"]]

    @classmethod
    def of(cls, raw: RawFeatures) -> RawRows:
        """Return rows that are read from the tensors of `raw`, which are in memory or memory-mapped."""
        widths = {name: x.shape[1] for name, x in raw.features.items()}
        return cls(widths, raw.ids, raw.groups, raw.splits, raw.provenance, lambda name, rows: raw.features[name][rows])

    def labels(self, rows: Int[Tensor, " k"]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the ids, groups and splits of these rows, in the given order."""
        order = rows.tolist()
        ids, groups, splits = (tuple(each[row] for row in order) for each in (self.ids, self.groups, self.splits))
        return ids, groups, splits

    def chunks(self, name: str, rows: Int[Tensor, " n"]) -> Iterator[tuple[Int[Tensor, " k"], Float[Tensor, "k p"]]]:
        """Yield (row numbers, rows) in chunks that take about 4 MB in float32.

        The size of a chunk depends only on the width, so results are the same wherever the rows are stored.
        """
        for part in torch.split(rows, max(1, _NUMBERS_AT_ONCE // self.widths[name])):
            yield part, self.read(name, part)
