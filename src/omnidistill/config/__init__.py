"""The configuration of a run: its schema, and how it is read. Imports no torch."""

from omnidistill.config.reading import describe_fields, load_config, parse_config, preset_names
from omnidistill.config.schema import (
    AdamConfig,
    DistillConfig,
    EvaluateConfig,
    ExpertsConfig,
    FullConfig,
    HeadsConfig,
    HopaConfig,
    IdentityConfig,
    InfoNCEConfig,
    LowRankConfig,
    ObjectiveConfig,
    OptimiserConfig,
    PairwiseConfig,
    RunConfig,
    SgdConfig,
    SimilarityConfig,
)

__all__ = [
    "AdamConfig",
    "DistillConfig",
    "EvaluateConfig",
    "ExpertsConfig",
    "FullConfig",
    "HeadsConfig",
    "HopaConfig",
    "IdentityConfig",
    "InfoNCEConfig",
    "LowRankConfig",
    "ObjectiveConfig",
    "OptimiserConfig",
    "PairwiseConfig",
    "RunConfig",
    "SgdConfig",
    "SimilarityConfig",
    "describe_fields",
    "load_config",
    "parse_config",
    "preset_names",
]
