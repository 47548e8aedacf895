"""Rows of one modality that are stored in several tensors, such as the memory-mapped files of a large dataset.

With S parts of n_1 ... n_S rows and width p, the rows are numbered from 0 to n_1 + ... + n_S - 1. An optional list of
row numbers selects or repeats rows: an image with several captions is stored once, but has a row per caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError


@dataclass(frozen=True, eq=False)
class PartedRows:
    """N rows of width p in one or more tensors.

    Attributes:
        parts: tensors of shape rows x p and the same type, in order.
        order: for each of the N rows, the number of the stored row that is used; None uses all stored rows in order.
    """

    parts: tuple[Float[Tensor, "_ p"], ...]
    order: Int[Tensor, " n"] | None = None

    @classmethod
    def of(cls, where: str, parts: Sequence[tuple[str, Tensor]]) -> PartedRows:
        """Return the rows of these parts.

        Args:
            where: name of the source and of its array or column, for messages.
            parts: (name of the part for messages, rows x p), at least one.

        Raises:
            InputError: two parts have different widths or types.
        """
        (first, x), *others = parts
        for name, y in others:
            if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
                raise InputError(
                    f"{where}: {name} is {_described(y)}, but {first} is {_described(x)}; all parts need the same "
                    "width and type, so encode them with the same model"
                )
        return cls(tuple(each for _, each in parts))

    def __len__(self) -> int:
        return sum(map(len, self.parts)) if self.order is None else len(self.order)

    @property
    def width(self) -> int:
        """Number of values per row."""
        return self.parts[0].shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """The stored type."""
        return self.parts[0].dtype

    def repeated(self, order: Int[Tensor, " n"]) -> PartedRows:
        """Return an object whose row i is row `order[i]` of this object. Nothing is copied."""
        return PartedRows(self.parts, order if self.order is None else self.order[order])

    def read(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k p"]:
        """Return these rows in their stored type."""
        rows = rows if self.order is None else self.order[rows]
        if len(self.parts) == 1:
            return self.parts[0][rows]
        starts = [0, *accumulate(map(len, self.parts))][:-1]
        numbers = torch.searchsorted(torch.tensor(starts, device="cpu"), rows, right=True) - 1
        result = torch.empty(len(rows), self.width, dtype=self.dtype, device="cpu")
        for number in torch.unique(numbers).tolist():
            chosen = numbers == number
            result[chosen] = self.parts[number][rows[chosen] - starts[number]]
        return result


def _described(x: Tensor) -> str:
    return f"{x.shape[1]} wide ({str(x.dtype).removeprefix('torch.')})"
