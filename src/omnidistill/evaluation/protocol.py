"""The evaluation protocol: how many students, and how the baselines on real rows are tuned."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from omnidistill.core.settings import Count, Positive, Settings


class EvaluateConfig(Settings):
    """How the set and the baselines are scored."""

    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Students per row of the table (batch orders; for random rows also the rows)."""
    max_epochs: Count = 100
    """Longest training on real rows that validation may choose; it ends when six epochs bring nothing."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Step sizes on real rows that validation chooses from."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Rows per step on real rows."""
    tau: Positive = 0.07
    """Temperature of the InfoNCE reference on all rows."""
