"""Settings of expert trajectories."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.core.settings import Count, Positive, Seed, Settings
from omnidistill.models.objectives import AnyObjective, Hopa


class ExpertsConfig(Settings):
    """Expert trajectories: heads trained on all training rows, with a snapshot after every epoch."""

    objective: AnyObjective = Hopa()
    """Loss of the experts."""
    num_experts: Count = 20
    """Number of independent runs (paper: 20)."""
    num_starts: Count = 1
    """Number of different initial heads for the experts. Every second expert starts from the initial heads of the run.
    The remaining experts start in turn from the other heads, which are pre-trained in the same way with new seeds."""
    random_starts: Annotated[int, Field(ge=0)] = 0
    """How many of these other heads are random instead of pre-trained."""
    num_epochs: Count | None = None
    """Epochs per run (paper: 10); absent: chosen on validation, separately for each of the initial heads."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Real rows per step (paper: 128); the last batch of an epoch is dropped if it is incomplete."""
    seed: Seed | None = None
    """Seed for the experts; absent: the seed of the run. Runs with the same value can share experts."""
    learning_rate: Positive | None = None
    """Step size of SGD (paper: 0.01; the gradient of HoPA is small, so standardised features need 1 to 3); absent:
    chosen on validation, separately for each of the initial heads."""

    def citations(self) -> tuple[str, ...]:
        """Return the citation key "dataset-distillation" if some experts start from random heads, otherwise none."""
        return ("dataset-distillation",) if self.random_starts else ()

    @model_validator(mode="after")
    def _starts_fit(self) -> ExpertsConfig:
        needed = 2 * (self.num_starts - 1)
        if self.num_experts < needed:
            raise ValueError(
                f"experts.num_starts = {self.num_starts} needs experts.num_experts of at least {needed}, not "
                f"{self.num_experts}: only every second expert starts from heads other than the run's initial heads"
            )
        if self.random_starts >= self.num_starts:
            raise ValueError(
                f"experts.random_starts = {self.random_starts} must be below experts.num_starts = {self.num_starts}: "
                "the first start always has the run's initial heads"
            )
        return self
