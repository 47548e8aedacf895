"""The settings of a comparison: methods x sizes (or bytes) x seeds, baselines, and which table.

A method is a preset, by name or with a label and settings of its own. `{size}` in its name stands for the size, for
presets that are published size by size. With `each_anchor`, a method is taken once for every modality as its anchor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Component, Count, Seed, Settings
from omnidistill.evaluation.baselines import AnyBaseline, Baseline, default_baselines
from omnidistill.experiments.config.load import load_config, split_tables
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.experiments.config.settings_tree import explain
from omnidistill.experiments.config.toml_files import headlines, read_file, read_toml, shipped

Layout = Literal["retrieval", "variants", "cost", "directions", "curve"]
Overrides = Annotated[tuple[str, ...], AfterValidator(split_tables)]
"""key=value, as for --set; one setting each."""

SHARED = ("modalities", "heads.", "evaluate.")
"""Keys, or beginnings of keys, of what all methods of a comparison have in common."""
_DECIDED = {
    "seed": "seeds (--seeds)",
    "experts.seed": "seeds (--seeds)",
    "distill.size": "sizes (--sizes) or bytes (--bytes)",
    "evaluate.num_seeds": "num_students (--students)",
}


class MethodEntry(Settings):
    """A preset, as it enters a comparison."""

    preset: str
    """Its name; may contain {size}."""
    label: str | None = None
    """Name in tables; absent: that of the preset."""
    settings: Overrides = ()
    """key=value, as for --set."""
    each_anchor: bool = False
    """Once for every modality of the data as the anchor of student and experts."""


class ComparisonConfig(Settings):
    """A comparison."""

    layout: Layout = "retrieval"
    """Which table: recall by size (paper: tables 1-3), variants (5, 6), cost (7), every direction (10); or gain against
    bytes."""
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    """Rows of the table, in this order."""
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (100,)
    """Synthetic rows N."""
    bytes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Budgets instead of sizes, as bytes ("64kB") or a share of the training features ("1%")."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """One set is made with each; experts are shared."""
    num_students: Annotated[int, Field(ge=2)] = 5
    """Students trained on every set, and runs of every baseline."""
    baselines: tuple[AnyBaseline, ...] = default_baselines()
    """What methods are compared with; zero-shot and full are always among them."""
    settings: Overrides = ()
    """key=value for every method that has the setting."""

    @model_validator(mode="after")
    def _consistent(self) -> ComparisonConfig:
        if self.bytes and "sizes" in self.model_fields_set:
            raise ValueError("sizes and bytes both decide how many rows there are; give one of them")
        for name in ("sizes", "bytes", "seeds", "baselines"):
            values = getattr(self, name) or ()
            if len(set(values)) < len(values):
                shown = [value.kind if isinstance(value, Baseline) else value for value in values]
                raise ValueError(f"{name} = {shown}: one is given twice; leave one out")
        own = [setting for entry in self.methods for setting in entry.settings]
        for setting in (*self.settings, *own):
            if (key := _key(setting)) in _DECIDED:
                raise ValueError(f"{setting}: a comparison decides {key} by its {_DECIDED[key]}")
        for setting in own:
            if _key(setting).startswith(SHARED):
                raise ValueError(f"{setting}: one for all methods; give it as a setting of the comparison")
        return self


def describe_comparisons() -> dict[str, str]:
    """One line on every comparison that ships with the package: the first line of its comment."""
    return headlines("comparisons")


def load_comparison(
    path: Path | None = None, preset: str | None = None, methods: Sequence[str] = (), **given: Any
) -> tuple[str, ComparisonConfig]:
    """Its name and content: of a file, of one that ships with the package, or of methods by name alone; given values
    (sizes, bytes, seeds, num_students, settings) replace those of the file; sizes replace bytes, and bytes sizes.

    Raises InputError for an unknown name, method or setting, naming the nearest known one.
    """
    if path is not None and preset is not None:
        raise InputError("give --preset or --config, not both")
    if path is not None:
        name, where, tree = path.stem, str(path), read_file(path)
    elif preset is not None:
        known = shipped("comparisons")
        if preset not in known:
            hint = f"; --methods {preset} names a method" if preset in shipped("presets") else nearest(preset, known)
            raise InputError(f"unknown comparison '{preset}'{hint}; 'omnidistill presets' lists them")
        name, where = preset, f"comparison {preset}"
        tree = read_toml(known[preset], where)
    else:
        name, where, tree = "comparison", "comparison", {}
    given = {key: value for key, value in given.items() if value is not None}
    for replacing, replaced in (("sizes", "bytes"), ("bytes", "sizes")):
        if replacing in given:
            tree.pop(replaced, None)
    tree |= given
    if methods:
        tree["methods"] = list(methods)
    if "methods" not in tree:
        raise InputError(
            "no methods to compare; give --methods a,b,c or --preset NAME ('omnidistill presets' lists both)"
        )
    if "references" in tree:
        raise InputError(f"{where}: setting 'references' is now 'baselines'; see docs/upgrading.md")
    if isinstance(tree["methods"], list):
        tree["methods"] = [{"preset": each} if isinstance(each, str) else each for each in tree["methods"]]
    try:
        return name, ComparisonConfig.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, ComparisonConfig, tree)}") from None


def entry_config(
    entry: MethodEntry, size: int | None, seed: int, comparison: ComparisonConfig, budget: str | None = None
) -> RunConfig:
    """Return the run of a method at a size, or (size None) within a budget, and a seed.

    Raises InputError naming the method and what is wrong with it.
    """
    if size is None and "{size}" in entry.preset:
        raise InputError(f"method {entry.preset}: is published size by size; compare it by sizes, not by bytes")
    name = entry.preset.replace("{size}", str(size))
    plain = load_config(preset=name)
    try:
        choices = [each for each in (*comparison.settings, *entry.settings) if _chooses(plain, each)]
        if chosen := [each for each in choices if has_setting(plain, each)]:
            plain = load_config(preset=name, overrides=chosen)  # another choice has other settings
        shared = [setting for setting in comparison.settings if has_setting(plain, setting)]
        return load_config(
            preset=name,
            overrides=[*shared, *entry.settings],
            seed=seed,
            method=entry.label,
            distill__size=budget if size is None else size,
            experts__seed=min(comparison.seeds),
            evaluate__num_seeds=comparison.num_students,
        )
    except InputError as error:
        rows = "" if size is None else f", {size} rows"
        raise InputError(f"method {entry.label or name}{rows}: {error}") from None


def has_setting(config: RunConfig, setting: str) -> bool:
    """Whether a run of this kind uses the setting of a key=value."""
    place: Any = config
    for part in _key(setting).split("."):
        if part not in getattr(type(place), "model_fields", {}) and not (
            part == "kind" and isinstance(place, Component)
        ):
            return False
        place = getattr(place, part)
    return True


def _chooses(config: RunConfig, setting: str) -> bool:
    """Whether a key=value names a component: by its kind, or by its name alone."""
    place: Any = config
    for part in _key(setting).split("."):
        if part == "kind":
            return isinstance(place, Component)
        place = getattr(place, part, None)
    return isinstance(place, Component)


def _key(setting: str) -> str:
    return setting.partition("=")[0].strip()
