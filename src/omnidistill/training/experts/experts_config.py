"""Settings of expert trajectories: heads trained on all training rows, a snapshot after every epoch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.core.settings import Count, Positive, Seed, Settings
from omnidistill.models.objectives import AnyObjective, Hopa


class ExpertsConfig(Settings):
    """Expert trajectories: heads trained on all training rows, a snapshot after every epoch."""

    objective: AnyObjective = Hopa()
    """What experts minimise."""
    num_experts: Count = 20
    """Independent runs (paper: 20)."""
    num_starts: Count = 1
    """Heads that experts start from: every second expert from those of the run, the others alternately from heads made
    like them with seeds of their own."""
    random_starts: Annotated[int, Field(ge=0)] = 0
    """How many of the other starts are random matrices instead of pre-trained."""
    num_epochs: Count | None = None
    """Epochs per run (paper: 10); absent: as many as validate best, for every start its own number."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Real rows per step (paper: 128); the last incomplete batch of an epoch is dropped."""
    seed: Seed | None = None
    """Seed of the experts; absent: that of the run. One value for several runs lets them share experts."""
    learning_rate: Positive | None = None
    """SGD step size (paper: 0.01; HoPA's gradient is small, so standardised features need 1 to 3); absent: the one that
    validates best, for every start its own."""

    def citations(self) -> tuple[str, ...]:
        """Return the work on sets for random starts, where there are such."""
        return ("dataset-distillation",) if self.random_starts else ()

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
