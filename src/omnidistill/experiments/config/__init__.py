"""The settings of runs and comparisons: the complete trees, and how they are read from TOML, presets and overrides."""

from omnidistill.experiments.config.comparison_config import (
    SHARED,
    ComparisonConfig,
    MethodEntry,
    describe_comparisons,
    entry_config,
    has_setting,
    load_comparison,
)
from omnidistill.experiments.config.load import (
    describe_presets,
    load_config,
    parse_config,
    preset_names,
    split_tables,
)
from omnidistill.experiments.config.requested import SettingValues, requested_config
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.experiments.config.settings_tree import describe_fields

__all__ = [
    "SHARED",
    "ComparisonConfig",
    "MethodEntry",
    "RunConfig",
    "SettingValues",
    "describe_comparisons",
    "describe_fields",
    "describe_presets",
    "entry_config",
    "has_setting",
    "load_comparison",
    "load_config",
    "parse_config",
    "preset_names",
    "requested_config",
    "split_tables",
]
