"""Distinct rows of a modality. A row is a repeat if an earlier row has the same group and the same features.

A dataset with five captions per image repeats each image in five rows. Its distinct rows contain every image once.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor


def distinct_rows(rows: Float[Tensor, "N p"], groups: Int[Tensor, " N"]) -> Int[Tensor, " k"]:
    """Return the index of the first row of each distinct pair (group, features): ascending, int64, on the CPU.

    For example, if the features of three rows are equal and their groups are 0, 0 and 1, the result is [0, 2].

    Args:
        rows: features. The values 0.0 and -0.0 count as equal.
        groups: group number of each row.
    """
    contents = (rows.detach() + 0.0).cpu().contiguous().view(torch.uint8).numpy()  # + 0.0 turns -0.0 into 0.0
    first: dict[tuple[int, bytes], int] = {}
    for row, (group, content) in enumerate(zip(groups.tolist(), contents, strict=True)):
        first.setdefault((group, hashlib.blake2b(content, digest_size=16).digest()), row)
    return torch.tensor(list(first.values()), dtype=torch.int64, device="cpu")
