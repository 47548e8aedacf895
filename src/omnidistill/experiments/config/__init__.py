"""Settings of runs and comparisons, and functions that load them from TOML files, presets and overrides."""

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
