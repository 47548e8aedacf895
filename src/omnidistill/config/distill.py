"""Settings of the ways in which a set is made, tagged by `kind`. Paper values: HoPA tables 8 and 9."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from omnidistill.config.parts import (
    AdamConfig,
    Count,
    GroupsConfig,
    HopaConfig,
    IdentityConfig,
    InfoNCEConfig,
    LowRankConfig,
    ObjectiveConfig,
    OptimiserConfig,
    Positive,
    SimilarityConfig,
    Strict,
)


class StorageConfig(Strict):
    """What a stored row takes, and what is made of it."""

    bits: Literal[32, 16, 8, 6, 4, 3, 2] = 32
    """Bits a number of a row; 32 and 16 are floats, fewer are integers with one scale a row."""
    views: Annotated[int, Field(ge=0)] = 1
    """Rows trained on for each stored one: the row itself, and the row times fixed patterns of signs. 0: as many as
    make about 256 rows, at most 16."""


class _SetConfig(Strict):
    """What every way of making a set has."""

    size: Count = 100
    """Synthetic rows N that are stored."""
    storage: StorageConfig = StorageConfig()
    """How they are stored; what is learned or tuned knows of it."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Rows a student step, or all if the set has fewer; absent: 25 (paper) for matched trajectories, 128 for others."""

    _usual_batch: ClassVar[int] = 128

    @property
    def counted_storage(self) -> StorageConfig:
        """The storage with a number of views."""
        views = self.storage.views or min(16, max(1, round(256 / self.size)))
        return self.storage.model_copy(update={"views": views})

    @property
    def num_rows(self) -> int:
        """Rows that students train on: all views of the stored ones."""
        return self.size * self.counted_storage.views

    @property
    def batch(self) -> int:
        """The mini-batch in effect."""
        return min(self.batch_size or self._usual_batch, self.num_rows)

    @property
    def uses_experts(self) -> bool:
        """Whether expert trajectories are asked for."""
        return False


class _LearnedConfig(_SetConfig):
    """Rows learned through the training of a student: the outer loop."""

    iterations: Count = 1500
    """Outer iterations (paper: 2000 to 3000)."""
    student: ObjectiveConfig = HopaConfig()
    """What the student minimises on the synthetic set."""
    similarity: SimilarityConfig = LowRankConfig()
    """How the target similarities of the synthetic rows are stored."""
    rollout: Literal["auto", "dual", "bptt", "tesla"] = "auto"
    """How the student's training is differentiated; auto takes the cheaper exact form."""
    num_student_steps: Count = 16
    """SGD steps T of the student an iteration (paper: 16)."""
    order: Literal["any", "fixed"] = "any"
    """Mini-batches of students: drawn anew each time (paper), or always the same ones, which the recipe then names."""
    blend: bool = False
    """Train the student on mixtures of the rows of its batch (RepBlend)."""
    initial_step_size: Positive | None = None
    """Where each modality's learned student step size begins (paper: 0.01 for its 0.01 experts); absent: at that of the
    experts, or 0.1 without any."""
    optimiser: OptimiserConfig = AdamConfig()
    """How the synthetic set is updated."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rates over the iterations."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of all that is learned; the average is the product (PTM-ST: 0.99)."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient of all rows together; absent: no clipping."""
    validate_every: Annotated[int, Field(ge=0)] = 100
    """Iterations between validations; the best set on validation is kept. 0: keep the last."""
    checkpoint_seconds: Positive = 30.0
    """Time between checkpoints."""

    _usual_batch: ClassVar[int] = 25

    @model_validator(mode="after")
    def _rank_fits(self) -> _LearnedConfig:
        if isinstance(self.similarity, LowRankConfig) and self.similarity.rank > self.num_rows:
            what, most = "size" if self.num_rows == self.size else "size x storage.views", self.num_rows
            raise ValueError(f"similarity.rank = {self.similarity.rank} exceeds {what} = {most}; use at most {most}")
        return self


class TaskLossConfig(Strict):
    """InfoNCE of the trained student on real rows."""

    rows: Annotated[int, Field(ge=2)] = 512
    """Real rows an iteration, or all if there are fewer."""
    tau: Positive = 0.07
    """Temperature of the cosine."""


class TrajectoryConfig(_LearnedConfig):
    """Rows learned by matching expert trajectories."""

    kind: Literal["trajectory"] = "trajectory"
    target: Literal["trajectory", "shortcut"] = "trajectory"
    """What is matched: the expert's own path, or the straight line between its ends at the expert's pace (PTM-ST)."""
    num_expert_epochs: Count | None = None
    """Expert epochs that the T student steps must cover (paper: 2); absent: all that an expert has."""
    max_start_epoch: Count = 1
    """Student starts are expert epochs 0 to this, exclusive (paper: 5; 7 at N = 500)."""
    own_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the iterations, at their end, in which only experts that start from the run's own heads are matched."""
    task_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the student's loss on real rows beside the matching loss, which is 1 a modality at first; 0: none."""
    task: TaskLossConfig = TaskLossConfig()
    """That loss."""

    @model_validator(mode="after")
    def _starts_fit(self) -> TrajectoryConfig:
        if self.num_expert_epochs is None and self.max_start_epoch > 1:
            raise ValueError("max_start_epoch above 1 leaves no room to match all epochs; give num_expert_epochs")
        return self

    @property
    def uses_experts(self) -> bool:
        """They are what is matched."""
        return True

    @property
    def last_epoch(self) -> int:
        """The last expert epoch that is read for certain."""
        return self.max_start_epoch - 1 + (self.num_expert_epochs or 1)


class TaskConfig(_LearnedConfig):
    """Rows learned by the loss of the trained student on real rows: no experts."""

    kind: Literal["task"] = "task"
    task: TaskLossConfig = TaskLossConfig()
    """What the trained student is judged by."""


class _ChosenConfig(_SetConfig):
    """Rows that are chosen or computed, not learned; the recipe is tuned on validation."""

    student: ObjectiveConfig = InfoNCEConfig()
    """What is minimised on the set."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Step sizes that validation chooses from."""
    max_steps: Count = 2048
    """Longest training that validation may choose; candidates double from 8."""


class SelectConfig(_ChosenConfig):
    """Real rows chosen by a selector, or averages of real rows."""

    kind: Literal["select"] = "select"
    selector: Literal[
        "random",
        "herding",
        "k-center",
        "k-medoids",
        "facility-location",
        "agreement",
        "aligned-k-medoids",
        "el2n",
        "grand",
        "forgetting",
        "craig",
        "prototypes",
        "group-means",
    ] = "random"
    """How rows are chosen; the last two average rows of a cluster or a group."""

    @property
    def similarity(self) -> GroupsConfig:
        """Rows of one group are positives."""
        return GroupsConfig()

    @property
    def uses_experts(self) -> bool:
        """By the selector that looks at a training."""
        return self.selector == "forgetting"


class _ComputedConfig(_ChosenConfig):
    """Rows in closed form."""

    pairing: Literal["rows", "groups"] = "groups"
    """Cross-covariances of rows, or of group means."""

    @property
    def similarity(self) -> IdentityConfig:
        """S = I."""
        return IdentityConfig()


class CovmatchConfig(_ComputedConfig):
    """Rows with the cross-covariances of the data, in closed form (CovMatch)."""

    kind: Literal["covmatch"] = "covmatch"
    rho: Positive = 1.0
    """Synthetic over real cross-covariance (paper: 2 at N = 100, 1 above)."""
    rotation: Literal["random", "eye"] = "eye"
    """Which of the sets of equal moments: one row a direction, or a random frame."""
    weights: Literal["uniform", "errors"] = "uniform"
    """Plain covariances, or those weighted by InfoNCE's errors along the first expert (C(gamma), UniCon)."""

    @property
    def uses_experts(self) -> bool:
        """For the errors along one."""
        return self.weights == "errors"


class ApmConfig(_ComputedConfig):
    """Rows on which least squares finds the analytic projectors of the data, in closed form (APM)."""

    kind: Literal["apm"] = "apm"
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Regularisation in units of the mean eigenvalue of each covariance; validation chooses."""
    norm: Literal["plain", "whitened"] = "whitened"
    """Nearest analytic parameters, or nearest outputs."""
    rotation: Literal["random", "eye"] = "random"
    """As in CovmatchConfig."""


LearnedConfig = TrajectoryConfig | TaskConfig
DistillConfig = Annotated[LearnedConfig | SelectConfig | CovmatchConfig | ApmConfig, Field(discriminator="kind")]
