"""The whole run as one frozen, strict tree. Reading it imports no torch.

Every value is documented with unit and reason. Alternatives are tagged by `kind`, so a setting that a choice does not
use is not a field of it. Paper values: HoPA tables 8 and 9.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.config.distill import DistillConfig, TrajectoryConfig
from omnidistill.config.parts import Count, HopaConfig, ObjectiveConfig, Positive, Strict

UNSIZED = 10**9
"""Rows of a run whose budget is still to decide them (`budget.with_budget`); every rank fits."""


class HeadsConfig(Strict):
    """Pre-training of the heads on the `heads` split by InfoNCE, when none are given."""

    width: Count = 256
    """Width d of the embeddings."""
    num_epochs: Annotated[int, Field(ge=0)] = 30
    """Passes over the `heads` split; the best on validation is kept. 0: random heads."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Rows a step."""
    learning_rate: Positive = 1.0
    """SGD step size."""
    tau: Positive = 0.07
    """Temperature of InfoNCE."""


class ExpertsConfig(Strict):
    """Expert trajectories: heads trained on all training rows, a snapshot after every epoch."""

    objective: ObjectiveConfig = HopaConfig()
    """What experts minimise."""
    num_experts: Count = 20
    """Independent runs (paper: 20)."""
    num_starts: Count = 1
    """Heads that experts start from: every second one from those of the run, the others in turns from heads made like
    them with seeds of their own."""
    random_starts: Annotated[int, Field(ge=0)] = 0
    """How many of the other starts are random matrices instead of pre-trained."""
    num_epochs: Count | None = None
    """Epochs a run (paper: 10); absent: as many as validate best, for every start its own number."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Real rows a step (paper: 128); the last incomplete batch of an epoch is dropped."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Seed of the experts; absent: that of the run. One value for several runs lets them share experts."""
    learning_rate: Positive | None = None
    """SGD step size (paper: 0.01; HoPA's gradient is small, so standardised features want 1 to 3); absent: the one that
    validates best, for every start its own."""

    @model_validator(mode="after")
    def _starts_fit(self) -> ExpertsConfig:
        needed = 2 * (self.num_starts - 1)
        if self.num_experts < needed:
            raise ValueError(
                f"experts.num_starts = {self.num_starts} needs experts.num_experts of at least {needed}, not "
                f"{self.num_experts}: every second expert starts from the run's own heads, the others from the others"
            )
        if self.random_starts >= self.num_starts:
            raise ValueError(
                f"experts.random_starts = {self.random_starts} must be below experts.num_starts = {self.num_starts}: "
                "the first start is the run's own heads"
            )
        return self


class EvaluateConfig(Strict):
    """How the set and the reference lines are scored."""

    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Students a line (batch orders; for random rows also the rows)."""
    max_epochs: Count = 100
    """Longest training on real rows that validation may choose; it ends when six epochs bring nothing."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Step sizes on real rows that validation chooses from."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Rows a step on real rows."""
    tau: Positive = 0.07
    """Temperature of the InfoNCE reference on all rows."""


class RunConfig(Strict):
    """One run."""

    method: str = "hopa"
    """Name shown in tables."""
    modalities: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Modalities to use; absent: all of the data."""
    joint: bool = True
    """One set of all modalities; false: one of every pair, as bimodal methods are published (scored by pair, bytes and
    seconds summed)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Every random stream is named and derives from this number."""
    heads: HeadsConfig = HeadsConfig()
    experts: ExpertsConfig = ExpertsConfig()
    distill: DistillConfig = TrajectoryConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if not isinstance(self.distill, TrajectoryConfig) or self.experts.num_epochs is None:
            return self
        last = self.distill.last_epoch
        if last > self.experts.num_epochs:
            raise ValueError(
                f"distill.max_start_epoch - 1 + distill.num_expert_epochs = {last} exceeds experts.num_epochs = "
                f"{self.experts.num_epochs}; train experts longer or start earlier"
            )
        return self
