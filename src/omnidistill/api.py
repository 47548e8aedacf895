"""The public names, in one place; `import omnidistill` offers them all and loads torch only when one is used."""

from omnidistill.core.errors import InputError, NotFiniteError, OmnidistillError
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import Development, FeatureSet, prepare
from omnidistill.data.pack import pack
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import load_features, save_features
from omnidistill.distill import DistilledSet, TrajectoryMatching
from omnidistill.evaluation.retrieval import first_positive_ranks, ranks_by_direction, recalls
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.estimator import Distiller
from omnidistill.experiments.evaluate_run import evaluate_run
from omnidistill.experiments.run import open_run, run_distill, run_experts
from omnidistill.models.heads import embed, load_heads, save_heads
from omnidistill.models.objectives import Hopa, InfoNCE, PairwiseWbce
from omnidistill.models.similarities import FixedIdentity, Full, LowRank
from omnidistill.training.experts import ExpertBuffer, Start, load_experts, pretrain_heads, train_experts
from omnidistill.training.rollout import bptt_rollout, dual_rollout, tesla_rollout

__all__ = [
    "Development",
    "DistilledSet",
    "Distiller",
    "ExpertBuffer",
    "FeatureSet",
    "FixedIdentity",
    "Full",
    "Hopa",
    "InfoNCE",
    "InputError",
    "LowRank",
    "NotFiniteError",
    "OmnidistillError",
    "PairwiseWbce",
    "RawFeatures",
    "RunConfig",
    "Start",
    "TrajectoryMatching",
    "bptt_rollout",
    "dual_rollout",
    "embed",
    "evaluate_run",
    "first_positive_ranks",
    "load_config",
    "load_emoji",
    "load_experts",
    "load_features",
    "load_heads",
    "open_run",
    "pack",
    "planted",
    "prepare",
    "pretrain_heads",
    "ranks_by_direction",
    "recalls",
    "run_distill",
    "run_experts",
    "save_features",
    "save_heads",
    "tesla_rollout",
    "train_experts",
]
