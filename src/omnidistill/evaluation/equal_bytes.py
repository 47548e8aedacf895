"""The line of equal bytes: what a set's bytes hold when they hold the trained heads instead.

    W = W_0 + L^T R       the full run's update truncated to rank r (Eckart and Young), the largest that fits; rows of L
                          (r x d) and R (r x p_m) are stored in as many bits as those of the set

A set that loses to it must earn its keep elsewhere: heads of other seeds and widths, rows to look at.
"""

from __future__ import annotations

import time

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.config import StorageConfig
from omnidistill.distill.budget import row_bytes
from omnidistill.evaluation.line import Line
from omnidistill.models.heads import Heads
from omnidistill.models.storage import Parametrisation, parametrisation_from


def equal_bytes_line(full: Line, start: Heads, num_bytes: int, storage: StorageConfig | None = None) -> Line:
    """The full run's update of every head, its factors stored as told (or as float32), at the largest rank that weighs
    at most `num_bytes`.
    """
    begun = time.monotonic()
    stored = (storage or StorageConfig()).model_copy(update={"views": 1})
    per_rank = sum(row_bytes(stored, side) for matrix in start.values() for side in matrix.shape)
    rank = min(num_bytes // per_rank, *(side for matrix in start.values() for side in matrix.shape))
    form = parametrisation_from(stored)
    heads = {name: matrix + _truncated(full.heads[name] - matrix, rank, form) for name, matrix in start.items()}
    seconds = full.seconds + time.monotonic() - begun
    bits = "" if stored.bits == 32 else f", {stored.bits} bits"
    label, settings = f"heads of equal bytes (rank {rank}{bits})", {"rank": rank, "bits": stored.bits}
    return Line(label, (heads,), rank * per_rank, seconds, settings, full.judged)


def _truncated(update: Float[Tensor, "R d p"], rank: int, form: Parametrisation) -> Float[Tensor, "R d p"]:
    """Best approximation of each update by a matrix of at most that rank, as its stored factors give it."""
    if not rank:
        return torch.zeros_like(update)
    values = update if update.shape[1] <= update.shape[2] else update.mT
    basis = torch.linalg.eigh(values @ values.mT)[1][..., -rank:]
    pairs = zip(basis.mT, basis.mT @ values, strict=True)
    factors = [form.load(form.store({"left": left, "right": right})) for left, right in pairs]
    kept = torch.stack([each["left"].mT @ each["right"] for each in factors])
    return kept if values is update else kept.mT
