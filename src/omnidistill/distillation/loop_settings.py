"""Settings of the outer loop, which learns synthetic rows by differentiating through the training of a student.

In the descriptions of settings, "paper" refers to tables 8 and 9 of the HoPA paper (arXiv 2604.10666).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from omnidistill.core.settings import Count, Positive
from omnidistill.distillation.optimisers import AdamOptimiser, AnySetOptimiser
from omnidistill.distillation.set_settings import SetSettings
from omnidistill.distillation.student_sgd import StepSizeSpace
from omnidistill.models.objectives import AnyObjective, Hopa
from omnidistill.models.similarities import AnySimilarity, LowRank, Similarity
from omnidistill.training.rollout import Form


class LoopSettings(SetSettings):
    """Settings for learning synthetic rows by differentiating through the training of a student."""

    usual_batch: ClassVar[int] = 25
    added: ClassVar[tuple[str, ...]] = ("step_size_space", "patience", "initial_momentum", "initial_weight_decay")

    iterations: Count = 1500
    """Outer iterations (paper: 2000 to 3000)."""
    student: AnyObjective = Hopa()
    """Objective that the student minimises on the synthetic set."""
    similarity: AnySimilarity = LowRank()
    """How the target similarities of the synthetic rows are stored."""
    rollout: Form = "auto"
    """How to differentiate through the student's training; "auto" chooses the cheaper exact form."""
    num_student_steps: Count = 16
    """Number T of the student's SGD steps per iteration (paper: 16)."""
    order: Literal["any", "fixed"] = "any"
    """Mini-batches of students: "any" resamples them for every student (paper); "fixed" uses the same mini-batches for
    all students and stores their seed in the recipe."""
    blend: bool = False
    """Whether students train on mixtures of the rows in a batch (RepBlend)."""
    initial_step_size: Positive | None = None
    """Initial value of each modality's learned student step size (paper: 0.01 for experts trained with 0.01); absent:
    the step size of the experts, or 0.1 without experts."""
    step_size_space: StepSizeSpace = "log"
    """What is learned: the logarithms of the step sizes, which therefore stay positive, or the step sizes themselves
    ("linear", public code of MTT-VL and LoRS); a step size of 0 or less restarts the loop like NaN."""
    initial_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Initial value of the student's momentum, which is learned together with the step sizes; 0: no momentum."""
    initial_weight_decay: Annotated[float, Field(ge=0, le=1e30)] = 0.0
    """Initial value of the student's weight decay, which is learned like the momentum; 0: no weight decay."""
    optimiser: AnySetOptimiser = AdamOptimiser()
    """Optimiser for the synthetic set."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Schedule of the learning rates over the iterations."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of all learned tensors (PTM-ST: 0.99). The averaged tensors form the set. 0: no
    average."""
    clip_norm: Positive | None = None
    """Largest allowed norm of the gradient with respect to all rows; absent: no clipping."""
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

    @model_validator(mode="after")
    def _rollout_fits(self) -> LoopSettings:
        if self.rollout == "tesla" and (self.initial_momentum or self.initial_weight_decay):
            name = "initial_momentum" if self.initial_momentum else "initial_weight_decay"
            raise ValueError(f"{name}: rollout 'tesla' cannot learn it; set it to 0, or use rollout 'dual' or 'bptt'")
        return self

    @property
    def set_similarity(self) -> Similarity:
        """Form of the learned target similarities, such as a low-rank matrix."""
        return self.similarity

    def citations(self) -> tuple[str, ...]:
        """Return the citation keys of the works on which the method and its settings are based."""
        rollout = ("tesla",) if self.rollout == "tesla" else ()
        return (*self.cites, *rollout, *(("repblend", "lors") if self.blend else ()))
