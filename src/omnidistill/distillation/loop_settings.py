"""Settings of the outer loop, which learns rows through the training of a student. Paper: HoPA, tables 8 and 9."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from omnidistill.core.settings import Count, Positive
from omnidistill.distillation.optimisers import AdamOptimiser, AnySetOptimiser
from omnidistill.distillation.set_settings import SetSettings
from omnidistill.distillation.step_sizes import StepSizeSpace
from omnidistill.models.objectives import AnyObjective, Hopa
from omnidistill.models.similarities import AnySimilarity, LowRank, Similarity
from omnidistill.training.rollout import Form


class LoopSettings(SetSettings):
    """Settings of rows that are learned through the training of a student."""

    usual_batch: ClassVar[int] = 25
    added: ClassVar[tuple[str, ...]] = ("step_size_space", "patience")

    iterations: Count = 1500
    """Outer iterations (paper: 2000 to 3000)."""
    student: AnyObjective = Hopa()
    """Objective that the student minimises on the synthetic set."""
    similarity: AnySimilarity = LowRank()
    """How the target similarities of the synthetic rows are stored."""
    rollout: Form = "auto"
    """How the student's training is differentiated; "auto" chooses the cheaper exact form."""
    num_student_steps: Count = 16
    """SGD steps T of the student per iteration (paper: 16)."""
    order: Literal["any", "fixed"] = "any"
    """Mini-batches of students: resampled for every student (paper), or the same for all and part of the recipe."""
    blend: bool = False
    """Train the student on mixtures of the rows of its batch (RepBlend)."""
    initial_step_size: Positive | None = None
    """Initial value of each modality's learned student step size (paper: 0.01 for experts trained with 0.01); absent:
    the step size of the experts, or 0.1 without experts."""
    step_size_space: StepSizeSpace = "log"
    """What is learned: the logarithms of the step sizes, which therefore stay positive, or the step sizes themselves
    ("linear", public code of MTT-VL and LoRS); a step size of 0 or less restarts the loop like NaN."""
    optimiser: AnySetOptimiser = AdamOptimiser()
    """Optimiser of the synthetic set."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Schedule of the learning rates over the iterations."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of all learned tensors, which is returned (PTM-ST: 0.99); 0: no average."""
    clip_norm: Positive | None = None
    """Largest norm of the joint gradient of all rows; absent: no clipping."""
    validate_every: Annotated[int, Field(ge=0)] = 100
    """Iterations between validations; the set that validates best is returned. 0: no validation, last set returned."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Validations in a row without a new best score after which the loop stops; 0: it never stops for this reason."""
    checkpoint_seconds: Positive = 30.0
    """Seconds between checkpoints."""

    @model_validator(mode="after")
    def _similarity_fits(self) -> LoopSettings:
        if isinstance(self.size, int) and self.similarity.fit_to(self.num_rows) != self.similarity:
            limit = "size" if self.num_rows == self.size else "size x storage.views"
            rank = getattr(self.similarity, "rank", None)
            name = f"similarity.rank = {rank}" if rank else f"similarity = {self.similarity.kind}"
            raise ValueError(f"{name} exceeds {limit} = {self.num_rows}; use at most {self.num_rows}")
        return self

    @property
    def set_similarity(self) -> Similarity:
        """The learned similarity."""
        return self.similarity

    def citations(self) -> tuple[str, ...]:
        """Return the works that the method and its settings rest on."""
        rollout = ("tesla",) if self.rollout == "tesla" else ()
        return (*self.cites, *rollout, *(("repblend", "lors") if self.blend else ()))
