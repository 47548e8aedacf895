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
    """How heads are trained for the evaluation. "ours": on a set, by its own recipe; on real rows, with the number of
    epochs that is best on validation. "paper": as in the public code of LoRS (`evaluation.paper_protocol`)."""
    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Number of students (trained models) for each row of the table. They differ in batch order and, for the baseline
    `random`, also in the real rows."""
    max_epochs: Count = 100
    """Maximum number of epochs of training on real rows. Training stops earlier after six epochs without a better
    validation score."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Candidate step sizes for training on real rows. The one with the best validation score is used."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Number of rows per step of training on real rows."""
    tau: Positive = 0.07
    """Temperature of the InfoNCE loss with which baselines are trained."""
    gallery: Gallery = "distinct"
    """Queries and gallery in the test split. "distinct": identical items count once. "rows": every row counts."""
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] | None = None
    """Metrics in the table, from R@K for any K, MedR, MnR, MRR, mAP, nDCG@10. If absent, all of these, with K = 1, 5
    and 10."""
