"""The evaluation protocol: the number of students, and how baselines that train on real rows are tuned."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from omnidistill.core.settings import Count, Positive, Settings
from omnidistill.evaluation.directions import Gallery
from omnidistill.evaluation.metrics import MetricName


class EvaluateConfig(Settings):
    """How sets and baselines are scored."""

    added: ClassVar[tuple[str, ...]] = ("protocol", "gallery", "metrics")

    protocol: Literal["ours", "paper"] = "ours"
    """How heads are trained: "ours" is by the recipe of the set, and on real rows with the number of epochs that
    validates best; "paper" is as in the public code of LoRS (`evaluation.paper_protocol`)."""
    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Students trained per table row. They differ in batch order and, for the baseline `random`, in their rows."""
    max_epochs: Count = 100
    """Maximum number of epochs on real rows; training stops after six epochs without a better validation score."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Candidate step sizes for training on real rows; the one with the best validation score is used."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Rows per step when training on real rows."""
    tau: Positive = 0.07
    """Temperature of InfoNCE in the baselines."""
    gallery: Gallery = "distinct"
    """Queries and gallery items in the test split: "distinct" counts copies of an item once, "rows" counts all rows."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] | None = None
    """Metrics in the table: R@K for any K, MedR, MnR, MRR, mAP, nDCG@10; absent: all of these, with K = 1, 5, 10."""
