"""The public API. `import omnidistill` provides the same names, but imports torch only when a name is used."""

import omnidistill.methods as methods
from omnidistill.core.engines import engines
from omnidistill.core.errors import InputError, NotFiniteError, OmnidistillError
from omnidistill.data.datasets import datasets, load
from omnidistill.data.emoji import load_emoji
from omnidistill.data.featureset import Development, FeatureSet, prepare
from omnidistill.data.pack import PackReport, pack
from omnidistill.data.planted import planted
from omnidistill.data.raw import RawFeatures
from omnidistill.data.source_layouts import Layout, layouts
from omnidistill.data.store import load_features, save_features
from omnidistill.distillation import DistilledSet, TrajectoryMatching
from omnidistill.distillation.outer import OuterObjective, outer_objectives
from omnidistill.encoding.encoders import encoders
from omnidistill.encoding.extraction import EncodeSettings
from omnidistill.encoding.extraction.encode_set import EncodedSet, encode
from omnidistill.encoding.inversion import InversionSettings
from omnidistill.encoding.manifests.create import create_manifest
from omnidistill.evaluation.baselines import Baseline, baselines
from omnidistill.evaluation.directions import rank_directions, recall, recalls
from omnidistill.evaluation.retrieval import rank
from omnidistill.experiments.comparison import Compared, compare
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, RunConfig, load_config
from omnidistill.experiments.crossed import CrossedSettings, CrossedTable, SetEntry, crossed
from omnidistill.experiments.diagnosis import Diagnosis, diagnose
from omnidistill.experiments.estimator import Distiller
from omnidistill.experiments.evaluate_run import evaluate
from omnidistill.experiments.evaluation_result import Evaluation
from omnidistill.experiments.merge import merge
from omnidistill.experiments.migration import AppliedFile, Kit, Migration, MigrationSettings, migrate
from omnidistill.experiments.paper import PaperTables, paper
from omnidistill.experiments.plot import plot
from omnidistill.experiments.rendering import Rendered, render
from omnidistill.experiments.run import (
    DistillResult,
    InitialHeads,
    Run,
    distill,
    open_run,
    pretrain_heads,
    train_experts,
)
from omnidistill.experiments.run_page import write_report
from omnidistill.experiments.transfer import Transfer, TransferSettings, transfer
from omnidistill.io.tracking import trackers
from omnidistill.methods import Method
from omnidistill.methods.selectors import Selector, selectors
from omnidistill.models.heads import embed, load_heads, save_heads
from omnidistill.models.objectives import Hopa, InfoNCE, Objective, PairwiseWbce, objectives
from omnidistill.models.similarities import FixedIdentity, Full, LowRank, Similarity, similarities
from omnidistill.models.storages import Storage, storages
from omnidistill.training.experts import ExpertBuffer, Start, load_experts
from omnidistill.training.recipes import Recipe, recipes
from omnidistill.training.rollout import bptt_rollout, dual_rollout, tesla_rollout

__all__ = [
    "AppliedFile",
    "Baseline",
    "Compared",
    "ComparisonConfig",
    "CrossedSettings",
    "CrossedTable",
    "Development",
    "Diagnosis",
    "DistillResult",
    "DistilledSet",
    "Distiller",
    "EncodeSettings",
    "EncodedSet",
    "Evaluation",
    "ExpertBuffer",
    "FeatureSet",
    "FixedIdentity",
    "Full",
    "Hopa",
    "InfoNCE",
    "InitialHeads",
    "InputError",
    "InversionSettings",
    "Kit",
    "Layout",
    "LowRank",
    "Method",
    "MethodEntry",
    "Migration",
    "MigrationSettings",
    "NotFiniteError",
    "Objective",
    "OmnidistillError",
    "OuterObjective",
    "PackReport",
    "PairwiseWbce",
    "PaperTables",
    "RawFeatures",
    "Recipe",
    "Rendered",
    "Run",
    "RunConfig",
    "Selector",
    "SetEntry",
    "Similarity",
    "Start",
    "Storage",
    "TrajectoryMatching",
    "Transfer",
    "TransferSettings",
    "baselines",
    "bptt_rollout",
    "compare",
    "create_manifest",
    "crossed",
    "datasets",
    "diagnose",
    "distill",
    "dual_rollout",
    "embed",
    "encode",
    "encoders",
    "engines",
    "evaluate",
    "layouts",
    "load",
    "load_config",
    "load_emoji",
    "load_experts",
    "load_features",
    "load_heads",
    "merge",
    "methods",
    "migrate",
    "objectives",
    "open_run",
    "outer_objectives",
    "pack",
    "paper",
    "planted",
    "plot",
    "prepare",
    "pretrain_heads",
    "rank",
    "rank_directions",
    "recall",
    "recalls",
    "recipes",
    "render",
    "save_features",
    "save_heads",
    "selectors",
    "similarities",
    "storages",
    "tesla_rollout",
    "trackers",
    "train_experts",
    "transfer",
    "write_report",
]
