"""A torch Dataset of the rows of a distilled set, for custom training loops. Each batch includes soft targets.

Item i is ({modality: x_m,i}, i), where x_m,i is row i of modality m. Let I be the indices of b items, and p_m the
feature width. `collate` turns these items into the batch

    ({modality: b x p_m}, S[I, I])

S[I, I] (b x b) contains the target similarity of each pair of items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[dict[str, Float[Tensor, "b _"]], Float[Tensor, "b b"]]
"""Rows {modality: b x p_m} and their target similarities."""

Item = tuple[dict[str, Float[Tensor, " _"]], int]
"""A row of every modality, and its index."""


class SyntheticRows(Dataset[Item]):
    """Dataset of the synthetic rows to train on. Pass its `collate` method to the DataLoader as `collate_fn`.

    Args:
        rows: {modality: matrix of shape N x p_m}, where N is the number of rows and p_m the feature width.
        targets: function that takes the indices of b rows and returns their target similarities (b x b).
    """

    def __init__(
        self,
        rows: Mapping[str, Float[Tensor, "_ _"]],
        targets: Callable[[Int[Tensor, " b"]], Float[Tensor, "b b"]],
    ) -> None:
        self.rows: dict[str, Float[Tensor, "_ _"]] = dict(rows)
        self.targets: Callable[[Int[Tensor, " b"]], Float[Tensor, "b b"]] = targets

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))

    def __getitem__(self, index: int) -> Item:
        return {name: x[index] for name, x in self.rows.items()}, index

    def collate(self, items: Sequence[Item]) -> Batch:
        """Return a batch of the items, with the target similarity of each pair of items."""
        return self.batch(torch.tensor([index for _, index in items], device="cpu"))

    def batch(self, indices: Int[Tensor, " b"]) -> Batch:
        """Return a batch of the rows with these indices, with the target similarity of each pair of rows."""
        return {name: x[indices] for name, x in self.rows.items()}, self.targets(indices)
