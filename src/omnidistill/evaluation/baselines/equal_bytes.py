"""Heads of equal bytes: heads trained on all rows, compressed to the size of a distilled set.

Training on all rows changes the initial head W_0 (d x p_m) of a modality by an update. The best approximation of this
update with rank r is a product L^T R (Eckart and Young). The compressed head is

    W = W_0 + L^T R        L: r x d,  R: r x p_m

The rank r is the largest that fits in the size of the set. The rows of L and R are stored in 32 or 4 bits per number.
As for a set, the size includes the tensor file (with the feature means) and the manifest, but not the initial heads.

A set that scores lower than this baseline may still have other advantages: it can train heads with other seeds and
embedding widths, and its rows can be inspected.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.device import device_of, moved
from omnidistill.distillation.shipped_bytes import heads_bytes
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.models.storages import RowForm, RowStorage


@baselines.register("equal-bytes")
class EqualBytes(Baseline):
    """Heads trained on all rows, compressed to the size of a set by low-rank truncation, with 32 bits per number."""

    sized: ClassVar[bool] = True
    uses_bytes: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("full",)

    bits: Literal[32, 16, 8, 6, 4, 3, 2] = 32
    """Bits per number of the stored factors."""

    def applies(self, setting: Setting) -> bool:
        """Return whether a rank-1 update of the initial heads fits in the allowed bytes."""
        return self._rank(setting) > 0

    def fit(self, setting: Setting) -> TrainedHeads:
        """Truncate the update (trained minus initial head) to the largest rank that fits in the allowed bytes."""
        started_at, full, rank = time.monotonic(), setting.fitted["full"], self._rank(setting)
        form = RowStorage(bits=self.bits)
        start = setting.start
        trained = moved(full.heads, device_of(start))
        heads = {name: matrix + _truncated(trained[name] - matrix, rank, form) for name, matrix in start.items()}
        seconds = full.seconds + time.monotonic() - started_at
        bits = "" if self.bits == 32 else f", {self.bits} bits"
        label, settings = f"heads of equal bytes (rank {rank}{bits})", {"rank": rank, "bits": self.bits}
        return TrainedHeads(label, (heads,), self._bytes(setting, rank), seconds, settings, full.num_evaluated)

    def _rank(self, setting: Setting) -> int:
        assert setting.allowance is not None
        ranks = range(1, min(side for matrix in setting.start.values() for side in matrix.shape) + 1)
        return bisect_right(ranks, setting.allowance.bytes, key=lambda rank: self._bytes(setting, rank))

    def _bytes(self, setting: Setting, rank: int) -> int:
        if not rank:
            return 0
        sides = {f"{name}/left": matrix.shape[0] for name, matrix in setting.start.items()}
        sides |= {f"{name}/right": matrix.shape[1] for name, matrix in setting.start.items()}
        factors = RowStorage(bits=self.bits).empty(sides, rank)
        return heads_bytes(factors, setting.data.train.preprocessing, bits=self.bits)


@baselines.register("equal-bytes-4-bit")
class EqualBytes4Bit(EqualBytes):
    """Heads trained on all rows, compressed to the size of a set by low-rank truncation, with 4 bits per number."""

    bits: Literal[32, 16, 8, 6, 4, 3, 2] = 4
    """Bits per number of the stored factors."""


def _truncated(update: Float[Tensor, "R d p"], rank: int, form: RowForm) -> Float[Tensor, "R d p"]:
    """Return a low-rank approximation of each run's update (trained head minus initial head).

    The low-rank factors are rounded as if they had been stored in `form` and loaded again.
    """
    if not rank:
        return torch.zeros_like(update)
    values = update if update.shape[1] <= update.shape[2] else update.mT
    basis = torch.linalg.eigh(values @ values.mT)[1][..., -rank:]
    pairs = zip(basis.mT, basis.mT @ values, strict=True)
    factors = [form.load(form.store({"left": left, "right": right})) for left, right in pairs]
    truncated = torch.stack([each["left"].mT @ each["right"] for each in factors])
    return truncated if values is update else truncated.mT
