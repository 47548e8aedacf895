"""The settings of a complete run: one immutable, strictly validated tree with the settings of all components."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from omnidistill.core.settings import Seed, Settings
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.methods import AnyMethod
from omnidistill.methods.learn import Learn
from omnidistill.training.experts import ExpertsConfig, HeadsConfig


class RunConfig(Settings):
    """The settings of one run."""

    method: str = "hopa"
    """Name of the method, as shown in tables."""
    modalities: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Modalities of the dataset to use. If absent, all are used."""
    joint: bool = True
    """Whether to distil one set for all modalities together. If false, one set is distilled per pair of modalities, as
    in published bimodal methods; each set is scored on its own pair, and bytes and seconds are summed over pairs."""
    seed: Seed = 0
    """Seed for all random numbers."""
    heads: HeadsConfig = HeadsConfig()
    experts: ExpertsConfig = ExpertsConfig()
    distill: AnyMethod = Learn()
    evaluate: EvaluateConfig = EvaluateConfig()

    def citations(self) -> tuple[str, ...]:
        """Return the keys of the works to cite for the value of `joint`.

        If one set is distilled per pair of modalities (`joint` is False), this is ("mtt-vl",); otherwise it is ().
        """
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
