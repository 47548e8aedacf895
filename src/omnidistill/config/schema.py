"""The whole run as one frozen, strict tree. Reading it imports no torch.

Every value is documented with unit and reason. Alternatives are tagged by `kind`, so a setting that a choice does not
use is not a field of it. Paper values: HoPA tables 8 and 9.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Frozen; every field is of its type, and none is unknown."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


Positive = Annotated[float, Field(gt=0, le=1e30)]  # above, float32 overflows
Count = Annotated[int, Field(ge=1)]


class HopaConfig(Strict):
    """The HoPA objective (eq. 8)."""

    kind: Literal["hopa"] = "hopa"
    tau_mod: Positive = 0.1
    """Temperature of the softmax over singular values (paper tables: 0.1)."""
    tau_ins: Positive = 0.2
    """Temperature of the proxy similarity (paper tables: 0.2)."""
    lambda_ins: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the instance term; the other reading of the tables is tau_ins = 0.1, lambda_ins = 0.2."""
    threshold: float = 0.5
    """Targets above count as positives in wBCE."""
    reduction: Literal["sum", "mean"] = "sum"
    """wBCE as the sum of the two means (paper) or their mean (public LoRS code)."""
    modality_term: Literal["softmax", "single", "none"] = "softmax"
    """L_mod: softmax over singular values (eq. 8a), the truly single-mode -sigma_1, or left out."""
    instance_term: Literal["wbce", "infonce"] = "wbce"
    """L_ins: wBCE (eq. 9) or InfoNCE of the proxy similarity; lambda_ins = 0 leaves it out."""
    proxy_rank: Annotated[int, Field(ge=1, le=2)] = 1
    """Modes in the proxy similarity; 2 is the paper's ablation."""


class PairwiseConfig(Strict):
    """wBCE over pairs of modalities (the LoRS student)."""

    kind: Literal["pairwise-wbce"] = "pairwise-wbce"
    tau: Positive = 0.07
    """Temperature of the cosine."""
    threshold: float = 0.5
    """Targets above count as positives."""
    reduction: Literal["sum", "mean", "plain"] = "mean"
    """As in HopaConfig; plain: the ordinary BCE over all pairs of rows."""
    anchor: str | None = None
    """Modality that every pair must contain (T-bind, V-bind); all pairs when absent."""


class InfoNCEConfig(Strict):
    """Symmetric InfoNCE over pairs of modalities, several positives allowed."""

    kind: Literal["infonce"] = "infonce"
    tau: Positive = 0.07
    """Temperature of the cosine."""
    anchor: str | None = None
    """As in PairwiseConfig."""


ObjectiveConfig = Annotated[HopaConfig | PairwiseConfig | InfoNCEConfig, Field(discriminator="kind")]


class IdentityConfig(Strict):
    """S = I, not learned."""

    kind: Literal["identity"] = "identity"


class LowRankConfig(Strict):
    """S = diag(a) + (alpha / rank) L R^T, learned."""

    kind: Literal["low-rank"] = "low-rank"
    rank: Count = 10
    """Columns of L and R; at most the size of the set."""
    alpha: float = 1.0
    """Scale of the low-rank part."""


class DiagonalConfig(Strict):
    """S = diag(a), learned."""

    kind: Literal["diagonal"] = "diagonal"


class FullConfig(Strict):
    """Every entry of S is learned."""

    kind: Literal["full"] = "full"


class GroupsConfig(Strict):
    """S is 1 for rows of one group and 0 elsewhere, not learned: what real rows have."""

    kind: Literal["groups"] = "groups"


SimilarityConfig = Annotated[IdentityConfig | LowRankConfig | DiagonalConfig | FullConfig, Field(discriminator="kind")]


class SgdConfig(Strict):
    """SGD on the synthetic set, as in the paper."""

    kind: Literal["sgd"] = "sgd"
    rows: Positive = 100.0
    """Learning rate of the rows."""
    similarity: Positive = 10.0
    """Learning rate of the similarity factors."""
    step_sizes: Positive = 1e-4
    """Learning rate of the logarithm of the step sizes."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Momentum of all three."""


class AdamConfig(Strict):
    """Adam on the synthetic set."""

    kind: Literal["adam"] = "adam"
    rows: Positive = 0.1
    """Learning rate of the rows, in units of a standardised feature."""
    similarity: Positive = 0.05
    """Learning rate of the similarity factors."""
    step_sizes: Positive = 0.01
    """Learning rate of the logarithm of the step sizes."""


OptimiserConfig = Annotated[SgdConfig | AdamConfig, Field(discriminator="kind")]


class HeadsConfig(Strict):
    """Pre-training of the heads on the `heads` split by InfoNCE, when none are given."""

    width: Count = 256
    """Width d of the embeddings."""
    num_epochs: Count = 30
    """Passes over the `heads` split; the best on validation is kept."""
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
    num_epochs: Count = 10
    """Epochs a run (paper: 10)."""
    batch_size: Annotated[int, Field(ge=2)] = 128
    """Real rows a step (paper: 128); the last incomplete batch of an epoch is dropped."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Seed of the experts; absent: that of the run. One value for several runs lets them share experts."""
    learning_rate: Positive = 0.01
    """SGD step size (paper: 0.01; HoPA's gradient is small, so standardised features want 1 to 3)."""


class _SetConfig(Strict):
    """What every way of making a set has."""

    size: Count = 100
    """Synthetic rows N."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Rows a student step, or all if the set has fewer; absent: 25 (paper) for matched trajectories, 128 for others."""

    _usual_batch: ClassVar[int] = 128

    @property
    def batch(self) -> int:
        """The mini-batch in effect."""
        return min(self.batch_size or self._usual_batch, self.size)


class TrajectoryConfig(_SetConfig):
    """Rows learned by matching expert trajectories: the outer loop."""

    kind: Literal["trajectory"] = "trajectory"
    iterations: Count = 1500
    """Outer iterations (paper: 2000 to 3000)."""
    student: ObjectiveConfig = HopaConfig()
    """What the student minimises on the synthetic set."""
    similarity: SimilarityConfig = LowRankConfig()
    """How the target similarities of the synthetic rows are stored."""
    target: Literal["trajectory", "shortcut"] = "trajectory"
    """What is matched: the expert's own path, or the straight line between its ends at the expert's pace (PTM-ST)."""
    rollout: Literal["auto", "dual", "bptt", "tesla"] = "auto"
    """How the student's training is differentiated; auto takes the cheaper exact form."""
    num_student_steps: Count = 16
    """SGD steps T of the student an iteration (paper: 16)."""
    blend: bool = False
    """Train the student on mixtures of the rows of its batch (RepBlend)."""
    num_expert_epochs: Count = 2
    """Expert epochs that the T student steps must cover (paper: 2)."""
    max_start_epoch: Count = 5
    """Student starts are expert epochs 0 to this, exclusive (paper: 5; 7 at N = 500)."""
    initial_step_size: Positive = 3.0
    """Where each modality's learned student step size begins (paper: 0.01 for its 0.01 experts)."""
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
    def _rank_fits(self) -> TrajectoryConfig:
        if isinstance(self.similarity, LowRankConfig) and self.similarity.rank > self.size:
            raise ValueError(
                f"similarity.rank = {self.similarity.rank} exceeds size = {self.size}; use at most {self.size}"
            )
        return self


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


class CovmatchConfig(_ChosenConfig):
    """Rows with the cross-covariances of the data, in closed form (CovMatch)."""

    kind: Literal["covmatch"] = "covmatch"
    rho: Positive = 1.0
    """Synthetic over real cross-covariance (paper: 2 at N = 100, 1 above)."""
    pairing: Literal["rows", "groups"] = "groups"
    """Cross-covariances of rows, or of group means."""
    rotation: Literal["random", "eye"] = "eye"
    """Which of the sets of equal moments: one row a direction, or a random frame."""
    weights: Literal["uniform", "errors"] = "uniform"
    """Plain covariances, or those weighted by InfoNCE's errors along the first expert (C(gamma), UniCon)."""

    @property
    def similarity(self) -> IdentityConfig:
        """S = I."""
        return IdentityConfig()


class ApmConfig(_ChosenConfig):
    """Rows on which least squares finds the analytic projectors of the data, in closed form (APM)."""

    kind: Literal["apm"] = "apm"
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    """Regularisation in units of the mean eigenvalue of each covariance; validation chooses."""
    norm: Literal["plain", "whitened"] = "whitened"
    """Nearest analytic parameters, or nearest outputs."""
    pairing: Literal["rows", "groups"] = "groups"
    """As in CovmatchConfig."""
    rotation: Literal["random", "eye"] = "random"
    """As in CovmatchConfig."""

    @property
    def similarity(self) -> IdentityConfig:
        """S = I."""
        return IdentityConfig()


DistillConfig = Annotated[TrajectoryConfig | SelectConfig | CovmatchConfig | ApmConfig, Field(discriminator="kind")]


class EvaluateConfig(Strict):
    """How the set and the reference lines are scored."""

    num_seeds: Annotated[int, Field(ge=2)] = 10
    """Students a line (batch orders; for random rows also the rows)."""
    max_epochs: Count = 30
    """Longest training on real rows that validation may choose."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.1, 0.3, 1.0, 3.0, 10.0)
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
        if not isinstance(self.distill, TrajectoryConfig):
            return self
        last = self.distill.max_start_epoch - 1 + self.distill.num_expert_epochs
        if last > self.experts.num_epochs:
            raise ValueError(
                f"distill.max_start_epoch - 1 + distill.num_expert_epochs = {last} exceeds experts.num_epochs = "
                f"{self.experts.num_epochs}; train experts longer or start earlier"
            )
        return self
