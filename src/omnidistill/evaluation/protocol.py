"""The evaluation protocol: number of students, and how the baselines on real rows are tuned."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from omnidistill.core.settings import Count, Positive, Settings


class EvaluateConfig(Settings):
    """How sets and baselines are scored."""

    added: ClassVar[tuple[str, ...]] = ("protocol",)

    protocol: Literal["ours", "paper"] = "ours"
    """How heads are trained: "ours" is by the recipe of the set, and on real rows with the number of epochs that
    validates best; "paper" is as in the public code of LoRS (`evaluation.paper_protocol`)."""
    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Students trained per row of the table. They differ in the order of batches and, for random rows, in the rows."""
    max_epochs: Count = 100
    """Largest number of epochs on real rows; training stops after six epochs without improvement on validation."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Step sizes on real rows that validation chooses from."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Rows per step on real rows."""
    tau: Positive = 0.07
    """Temperature of InfoNCE in the baselines."""
