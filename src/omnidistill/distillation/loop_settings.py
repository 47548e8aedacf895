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
    """Number of outer iterations, each of which updates the synthetic set once (HoPA paper: 2000 to 3000)."""
    student: AnyObjective = Hopa()
    """Loss that students minimise on the synthetic set."""
    similarity: AnySimilarity = LowRank()
    """How the target similarities of the synthetic rows are stored."""
    rollout: Form = "auto"
    """How to compute gradients through the student's training: "dual", "bptt" or "tesla". "auto" chooses the cheaper of
    "dual" and "bptt", which are both exact."""
    num_student_steps: Count = 16
    """Number T of SGD steps of the student in every outer iteration (HoPA paper: 16)."""
    order: Literal["any", "fixed"] = "any"
    """Mini-batches of students. "any" draws new ones for every student, as in the HoPA paper. "fixed" uses the same
    mini-batches for all students, and stores their seed in the training recipe of the set."""
    blend: bool = False
    """Whether students train on random mixtures of the synthetic rows in a batch, as in RepBlend."""
    initial_step_size: Positive | None = None
    """Initial value of the student's step size, which is learned for each modality (HoPA paper: 0.01, for experts
    trained with 0.01). If absent, the step size of the experts, or 0.1 without experts."""
    step_size_space: StepSizeSpace = "log"
    """Form in which the student's step sizes are learned: as logarithms ("log"), so that they stay positive, or
    directly ("linear", as in the public code of MTT-VL and LoRS). A step size of 0 or less makes the loop start again,
    as NaN does."""
    initial_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Initial value of the student's momentum, which is learned together with the step sizes. With 0, there is no
    momentum."""
    initial_weight_decay: Annotated[float, Field(ge=0, le=1e30)] = 0.0
    """Initial value of the student's weight decay, which is learned together with the step sizes. With 0, there is no
    weight decay."""
    optimiser: AnySetOptimiser = AdamOptimiser()
    """Optimiser that updates the synthetic set in every outer iteration."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Schedule of the optimiser's learning rates over the outer iterations."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of all learned tensors (PTM-ST: 0.99). The averaged tensors form the set. With 0,
    nothing is averaged."""
    clip_norm: Positive | None = None
    """Norm to which the gradient with respect to all synthetic rows is clipped. If absent, it is not clipped."""
    validate_every: Annotated[int, Field(ge=0)] = 100
    """Number of outer iterations between validations. The set with the best validation score is returned. With 0, there
    are no validations, and the last set is returned."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Early stopping: the outer loop stops after this number of consecutive validations without a new best score. 0
    disables early stopping."""
    checkpoint_seconds: Positive = 30.0
    """Seconds between checkpoints, from which an interrupted run resumes."""

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
