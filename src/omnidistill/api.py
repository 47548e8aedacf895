"""The public names, in one place; `import omnidistill` offers them all and loads torch only when one is used."""

import omnidistill.methods as methods
from omnidistill.core.errors import InputError, NotFiniteError, OmnidistillError
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import Development, FeatureSet, prepare
from omnidistill.data.pack import pack
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.store import load_features, save_features
from omnidistill.distill import DistilledSet, TrajectoryMatching
from omnidistill.distill.outer import OuterObjective, outer_objectives
from omnidistill.encoding.encoders import encoders
from omnidistill.evaluation.baselines import Baseline, baselines
from omnidistill.evaluation.retrieval import first_positive_ranks, ranks_by_direction, recalls
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.estimator import Distiller
from omnidistill.experiments.evaluate_run import evaluate_run
from omnidistill.experiments.run import open_run, run_distill, run_experts
from omnidistill.io.tracking import trackers
from omnidistill.methods import Method
from omnidistill.methods.selectors import Selector, selectors
from omnidistill.models.heads import embed, load_heads, save_heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce, objectives
from omnidistill.models.similarities import FixedIdentity, Full, LowRank, Similarity, similarities
from omnidistill.models.storages import Storage, storages
from omnidistill.training.experts import ExpertBuffer, Start, load_experts, pretrain_heads, train_experts
from omnidistill.training.recipes import Recipe, recipes
from omnidistill.training.rollout import bptt_rollout, dual_rollout, tesla_rollout

__all__ = [
    "Baseline",
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
    "Method",
    "NotFiniteError",
    "Objective",
    "OmnidistillError",
    "OuterObjective",
    "PairwiseWbce",
    "RawFeatures",
    "Recipe",
    "RunConfig",
    "Selector",
    "Similarity",
    "Start",
    "Storage",
    "TrajectoryMatching",
    "baselines",
    "bptt_rollout",
    "dual_rollout",
    "embed",
    "encoders",
    "evaluate_run",
    "first_positive_ranks",
    "load_config",
    "load_emoji",
    "load_experts",
    "load_features",
    "load_heads",
    "methods",
    "objectives",
    "open_run",
    "outer_objectives",
    "pack",
    "planted",
    "prepare",
    "pretrain_heads",
    "ranks_by_direction",
    "recalls",
    "recipes",
    "run_distill",
    "run_experts",
    "save_features",
    "save_heads",
    "selectors",
    "similarities",
    "storages",
    "tesla_rollout",
    "trackers",
    "train_experts",
]
