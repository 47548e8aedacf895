"""Settings of expert trajectories."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.core.settings import Count, Positive, Seed, Settings
from omnidistill.models.objectives import AnyObjective, Hopa


class ExpertsConfig(Settings):
    """Expert trajectories: heads trained on all training rows, with a snapshot after every epoch."""

    objective: AnyObjective = Hopa()
    """Loss that experts minimise on real rows."""
    num_experts: Count = 20
    """Number of experts: heads that are trained independently on real rows (HoPA paper: 20)."""
    num_starts: Count = 1
    """Number of different initial heads from which experts are trained. Every second expert starts from the initial
    heads of the run. The remaining experts start in turn from the other initial heads, which are pre-trained in the
    same way with new seeds."""
    random_starts: Annotated[int, Field(ge=0)] = 0
    """If experts are trained from several initial heads (`num_starts`), the number of those that are random instead of
    pre-trained. The initial heads of the run are never among them."""
    num_epochs: Count | None = None
    """Number of epochs for which an expert is trained (HoPA paper: 10). If absent, it is chosen on validation,
    separately for each of the initial heads."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Number of real rows per training step of an expert (HoPA paper: 128). An incomplete last batch of an epoch is
    dropped."""
    seed: Seed | None = None
    """Seed for the training of experts. If absent, the seed of the run. Runs with the same value can share experts."""
    learning_rate: Positive | None = None
    """Step size of SGD in the training of experts. If absent, it is chosen on validation, separately for each of the
    initial heads. The HoPA paper uses 0.01; on standardised features, the HoPA loss needs 1 to 3, because its gradient
    is small."""

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
