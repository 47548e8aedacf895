"""The distinct items of a modality: rows that differ in their group or in their features.

A dataset with five captions per image repeats each image in five rows. Its distinct rows contain every image once.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor


def distinct_rows(rows: Float[Tensor, "N p"], groups: Int[Tensor, " N"]) -> Int[Tensor, " k"]:
    """Return the indices of the rows in which a pair (group, features) first appears: ascending int64 on the CPU."""
    contents = (rows.detach() + 0.0).cpu().contiguous().view(torch.uint8).numpy()  # + 0.0 turns -0.0 into 0.0
    first: dict[tuple[int, bytes], int] = {}
    for row, (group, content) in enumerate(zip(groups.tolist(), contents, strict=True)):
        first.setdefault((group, hashlib.blake2b(content, digest_size=16).digest()), row)
    return torch.tensor(list(first.values()), dtype=torch.int64, device="cpu")
