"""Baselines: ridge CCA heads with the largest rank at which they take no more bytes than a synthetic set.

The heads are stored in float32, in 4 bits or entropy-coded. A set of N rows stores as many values as heads of rank N.
Storing heads is therefore the simplest alternative to storing a set.

Validation chooses the ridge and the row pairing (see `ridge_cca`). The candidate heads are rounded before they are
scored.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar

from pydantic import Field

from omnidistill.core.settings import Positive
from omnidistill.evaluation.baselines.baseline import Baseline, Setting, baselines
from omnidistill.evaluation.baselines.compact_heads import bias_of, compact_bytes, largest_rank, rounded
from omnidistill.evaluation.baselines.ridge_cca import cca_candidates
from omnidistill.evaluation.trained_heads import TrainedHeads
from omnidistill.evaluation.validation import validation_score
from omnidistill.models.storages import AnyStorage, RowStorage
from omnidistill.models.storages.coded import CodedStorage
from omnidistill.training.experts.epochs import stack_runs


@baselines.register("cca-bytes")
class CcaBytes(Baseline):
    """Ridge CCA heads in float32, with the largest rank that takes no more bytes than a synthetic set."""

    sized: ClassVar[bool] = True
    uses_bytes: ClassVar[bool] = True
    needs_start: ClassVar[bool] = False
    stores_heads: ClassVar[bool] = True

    storage: AnyStorage = RowStorage()
    """How the rows of the head matrices are stored."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Candidate ridges of CCA, relative to the mean eigenvalue of each covariance; chosen on validation."""

    def applies(self, setting: Setting) -> bool:
        """Return whether heads of rank 2 fit in the allowed bytes."""
        return largest_rank(setting, self.storage) > 0

    def fit(self, setting: Setting) -> TrainedHeads:
        """Compute and round heads for every candidate ridge and row pairing; return the best on validation."""
        started_at, train, rank = time.monotonic(), setting.data.train, largest_rank(setting, self.storage)
        best, num_evaluated = None, 0
        for exact, _, settings in cca_candidates(train, rank, self.ridges):
            heads = rounded(exact, self.storage)
            bias = bias_of(heads, train)
            score, num_evaluated = validation_score(heads, setting.data.validation, bias), num_evaluated + 1
            if best is None or score > best[0]:
                best = score, heads, bias, settings
        assert best is not None
        _, heads, bias, settings = best
        num_bytes = compact_bytes(self.storage, train.widths, rank, train.preprocessing)
        label, seconds = f"ridge CCA heads (rank {rank}, {self.storage.title})", time.monotonic() - started_at
        return TrainedHeads(label, (stack_runs(heads, 1),), num_bytes, seconds, settings, num_evaluated, bias)


@baselines.register("cca-bytes-4-bit")
class CcaBytes4Bit(CcaBytes):
    """Ridge CCA heads in 4 bits, with the largest rank that takes no more bytes than a synthetic set."""

    storage: AnyStorage = RowStorage(bits=4)
    """How the rows of the head matrices are stored."""


@baselines.register("cca-bytes-coded")
class CcaBytesCoded(CcaBytes):
    """Entropy-coded ridge CCA heads, with the largest rank that takes no more bytes than a synthetic set."""

    storage: AnyStorage = CodedStorage()
    """How the rows of the head matrices are stored."""
