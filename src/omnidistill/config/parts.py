"""Settings that several sections share: objectives, similarities, optimisers. Alternatives are tagged by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


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
