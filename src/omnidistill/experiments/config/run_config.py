"""The settings of a complete run: one frozen, strict tree, made of the settings of its components."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.core.settings import Seed, Settings
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.methods import AnyMethod
from omnidistill.methods.learn import Learn
from omnidistill.training.experts import ExpertsConfig, HeadsConfig


class RunConfig(Settings):
    """One run."""

    method: str = "hopa"
    """Name shown in tables."""
    modalities: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Modalities to use; absent: all of the data."""
    joint: bool = True
    """One set of all modalities; false: one of every pair, as bimodal methods are published (scored by pair, bytes and
    seconds summed)."""
    seed: Seed = 0
    """Every random stream is named and derives from this number."""
    heads: HeadsConfig = HeadsConfig()
    experts: ExpertsConfig = ExpertsConfig()
    distill: AnyMethod = Learn()
    evaluate: EvaluateConfig = EvaluateConfig()

    def citations(self) -> tuple[str, ...]:
        """Return the work on sets of pairs, where one is made of every pair."""
        return () if self.joint else ("mtt-vl",)

    @model_validator(mode="after")
    def _enough_epochs(self) -> RunConfig:
        needed = self.distill.last_expert_epoch
        if self.experts.num_epochs is not None and needed > self.experts.num_epochs:
            raise ValueError(
                f"distill.outer.max_start_epoch - 1 + distill.outer.num_expert_epochs = {needed} exceeds "
                f"experts.num_epochs = {self.experts.num_epochs}; train experts longer or start earlier"
            )
        return self
