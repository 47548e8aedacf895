"""The settings of a comparison: its methods, sizes (or budgets), seeds and baselines, and the layout of its table.

A method is a preset, given by name alone or together with a label and settings. Names of presets may contain
placeholders: `{size}` stands for the size of the set, and `{benchmark}` for the name of a dataset of the HoPA paper.

With `each_anchor`, a method runs once per modality. The losses then use only the pairs of modalities that contain this
modality, which is called the anchor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Component, Count, Seed, Settings
from omnidistill.evaluation.baselines import AnyBaseline, Baseline, default_baselines
from omnidistill.experiments.config.benchmark_layouts import USUAL_BENCHMARK, require_benchmark
from omnidistill.experiments.config.load import as_texts, load_config, split_tables
from omnidistill.experiments.config.run_config import RunConfig
from omnidistill.experiments.config.settings_tree import explain
from omnidistill.experiments.config.toml_files import first_lines, packaged_files, read_file, read_toml

Layout = Literal["retrieval", "variants", "cost", "directions", "curve"]
Overrides = Annotated[tuple[str, ...], AfterValidator(split_tables)]
"""Settings as strings of the form "key=value"."""

SHARED = ("modalities", "heads.", "evaluate.")
"""Keys, or prefixes of keys, of the settings that all methods of a comparison share."""
_PROTOCOL = 'evaluate.protocol="ours"'
"""The protocol of all rows unless the settings of the comparison give another; presets may have one of their own."""
_DECIDED = {
    "seed": ("seeds",),
    "experts.seed": ("seeds",),
    "distill.size": ("sizes", "bytes"),
    "evaluate.num_seeds": ("num_students",),
}
"""Maps each setting of a run that a comparison determines to the arguments of the comparison that determine it."""


class MethodEntry(Settings):
    """A method of a comparison: a preset with its own label and settings."""

    preset: str
    """Name of the preset; "{size}" in it is replaced by the size, and in a file "{benchmark}" by the value of
    `benchmark` ("msrvtt", "vggsound" or "didemo")."""
    label: str | None = None
    """Name of the method in tables. If absent, the name of the preset."""
    settings: Overrides = ()
    """Settings of the method that differ from the preset, as "key=value". `omnidistill config --explain` lists all
    keys."""
    each_anchor: bool = False
    """Whether to run the method once per modality. Each time, the losses of students and experts use only the pairs
    that contain this modality (the anchor)."""


class ComparisonConfig(Settings):
    """Settings of a comparison of methods."""

    layout: Layout = "retrieval"
    """Layout of the table. "retrieval" shows recall by size (like tables 1 to 3 of the HoPA paper), "variants" compares
    variants of a method (tables 5 and 6), "cost" shows costs (table 7), "directions" shows recall in every direction
    (table 10), and "curve" shows gain against bytes."""
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    """Methods to compare, in the order in which the table lists them."""
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (100,)
    """Sizes of the sets to distil, in rows."""
    bytes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Size budgets of the sets to distil, in bytes ("64kB") or in percent of the training features ("1%"). They replace
    `sizes`."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Random seeds. For every method and size, one set is distilled per seed. All sets share the experts."""
    num_students: Annotated[int, Field(ge=2)] = 5
    """Number of students (models) trained on every set, and number of runs of every baseline."""
    baselines: tuple[AnyBaseline, ...] = default_baselines()
    """Baselines in the table. `zero-shot` and `full` are always included."""
    settings: Overrides = ()
    """Settings of the form "key=value". Each one is applied to every method that has it."""

    @model_validator(mode="after")
    def _consistent(self) -> ComparisonConfig:
        if self.bytes and "sizes" in self.model_fields_set:
            raise ValueError("'sizes' and 'bytes' both determine the number of rows; give only one of them")
        for name in ("sizes", "bytes", "seeds", "baselines"):
            values = getattr(self, name) or ()
            if len(set(values)) < len(values):
                shown = [value.kind if isinstance(value, Baseline) else value for value in values]
                raise ValueError(f"{name} = {shown}: a value is given twice; remove one")
        own = [setting for entry in self.methods for setting in entry.settings]
        for setting in (*self.settings, *own):
            if (key := _key(setting)) in _DECIDED:
                names = " or ".join(argument(name) for name in _DECIDED[key])
                raise ValueError(f"{setting}: in a comparison, set '{key}' with {names} instead")
        for setting in own:
            if _key(setting).startswith(SHARED):
                raise ValueError(f"{setting}: all methods share this setting; move it to the comparison's settings")
        return self


def describe_comparisons() -> dict[str, str]:
    """Map the name of each comparison in the package to its description, the first line of its TOML file."""
    return first_lines("comparisons")


def load_comparison(
    source: Path | ComparisonConfig | None = None, preset: str | None = None, methods: Sequence[Any] = (), **given: Any
) -> tuple[str, ComparisonConfig]:
    """Load a comparison and return its name and its settings.

    Args:
        source: a TOML file, or a complete comparison.
        preset: name of a comparison included in the package, instead of `source`.
        methods: names of presets, or `MethodEntry` objects; they replace the methods in `source` or `preset`.
        given: values for sizes, bytes, seeds, num_students, layout, baselines, benchmark or settings. `settings` are
            added to those of `source` or `preset`; every other value replaces the earlier one. `sizes` also removes
            `bytes`, and `bytes` removes `sizes`. Values that are None are ignored.

    Raises:
        InputError: a name, method or setting is unknown; the message suggests the closest known name.
    """
    name, where, tree = _source(source, preset)
    if tree.get("kind") == "crossed":
        raise InputError(f"{where}: describes a crossed table; use the function 'crossed' instead of 'compare'")
    if tree.get("kind") == "transfer":
        raise InputError(
            f"{where}: describes a transfer to other encoders, which 'compare' cannot run; use 'omnidistill transfer "
            f"RUN --to SET2 --preset {name}'"
        )
    given = {key: value for key, value in given.items() if value is not None}
    if isinstance(source, ComparisonConfig) and not given and not methods:
        return name, source
    for replacing, replaced in (("sizes", "bytes"), ("bytes", "sizes")):
        if replacing in given:
            tree.pop(replaced, None)
    earlier = tree.get("settings", [])
    if "settings" in given and isinstance(earlier, list):
        given["settings"] = [*earlier, *as_texts(given["settings"])]
    tree |= {key: _listed(key, value) for key, value in given.items()}
    if methods:
        tree["methods"] = _listed("methods", methods)
    if "methods" not in tree:
        raise InputError(
            f"no methods to compare; pass {argument('methods')} or {argument('preset')} ('omnidistill presets' lists "
            "the names of methods and comparisons)"
        )
    if "references" in tree:
        raise InputError(f"{where}: setting 'references' is now called 'baselines'; see docs/upgrading.md")
    if isinstance(tree["methods"], list):
        tree["methods"] = [{"preset": each} if isinstance(each, str) else each for each in tree["methods"]]
    _resolve_benchmark(tree, where)
    try:
        return name, ComparisonConfig.model_validate_json(json.dumps(to_jsonable_python(tree), default=str))
    except ValidationError as error:
        raise InputError(f"{where}: cannot use the settings: {explain(error, ComparisonConfig, tree)}") from None


def _resolve_benchmark(tree: dict[str, Any], where: str) -> None:
    """Replace the placeholder "{benchmark}" in the presets of all methods by the value of the key "benchmark".

    The key is removed from the tree. If it is missing, its default value is used.
    """
    benchmark, methods = tree.pop("benchmark", None), tree["methods"]
    if not isinstance(methods, list):
        return  # validation reports it
    name = require_benchmark(USUAL_BENCHMARK if benchmark is None else benchmark, where)
    entries = [each for each in methods if "{benchmark}" in _preset_of(each)]
    if benchmark is not None and not entries:
        raise InputError(
            f"{argument('benchmark', benchmark)}: no method in this comparison has settings for a benchmark; omit this "
            "argument"
        )
    tree["methods"] = [
        {**to_jsonable_python(each), "preset": _preset_of(each).replace("{benchmark}", name)}
        if each in entries
        else each
        for each in methods
    ]


def _preset_of(entry: Any) -> str:
    preset = entry.get("preset") if isinstance(entry, dict) else getattr(entry, "preset", None)
    return preset if isinstance(preset, str) else ""


def _source(source: object, preset: str | None) -> tuple[str, str, dict[str, Any]]:
    """Return the name of a comparison, a description of its source for error messages, and its settings."""
    if source is not None and preset is not None:
        raise InputError(f"{argument('preset')} and {argument('config')} both define the settings; pass only one")
    match source:
        case Path():
            return source.stem, str(source), read_file(source)
        case ComparisonConfig():
            tree = source.model_dump(mode="json")
            del tree["sizes" if source.bytes else "bytes"]
            return "comparison", "comparison", tree
        case None:
            if preset is None:
                return "comparison", "comparison", {}
            known = packaged_files("comparisons")
            if preset not in known:
                named = f"; it is a method, so use {argument('methods', preset)}"
                hint = named if preset in packaged_files("presets") else nearest(preset, known)
                raise InputError(f"unknown comparison '{preset}'{hint}; 'omnidistill presets' lists all comparisons")
            where = f"comparison {preset}"
            return preset, where, read_toml(known[preset], where)
    raise InputError(
        f"config: found a {type(source).__name__}; pass a ComparisonConfig or the pathlib.Path of a TOML file"
    )


def _listed(key: str, value: Any) -> Any:
    """Return `value`, or `[value]` if the setting `key` takes a list and `value` is a single element."""
    several = key in ("methods", "sizes", "bytes", "seeds", "baselines")
    if key == "methods" and isinstance(value, int):
        raise InputError(f"methods: found {value}; pass a list of preset names or MethodEntry objects")
    if several and isinstance(value, str | int | MethodEntry):
        return [value]
    return list(value) if several and isinstance(value, Sequence) else value


def entry_config(
    entry: MethodEntry, size: int | None, seed: int, comparison: ComparisonConfig, budget: str | None = None
) -> RunConfig:
    """Return the settings of a run of a method with this seed and size.

    If `size` is None, `budget` determines the number of rows.

    Raises:
        InputError: the settings of the method are invalid; the message names the method.
    """
    if size is None and "{size}" in entry.preset:
        raise InputError(
            f"method {entry.preset}: its paper gives settings only for certain numbers of rows; pass 'sizes' instead "
            "of 'bytes'"
        )
    name = entry.preset.replace("{size}", str(size))
    plain = load_config(preset=name)
    try:
        choices = [each for each in (*comparison.settings, *entry.settings) if _chooses(plain, each)]
        if chosen := [each for each in choices if has_setting(plain, each)]:
            plain = load_config(preset=name, overrides=chosen)  # selected components first: their settings differ
        shared = [setting for setting in comparison.settings if has_setting(plain, setting)]
        return load_config(
            preset=name,
            overrides=[_PROTOCOL, *shared, *entry.settings],
            seed=seed,
            method=entry.label,
            distill__size=budget if size is None else size,
            experts__seed=min(comparison.seeds),
            evaluate__num_seeds=comparison.num_students,
        )
    except InputError as error:
        rows = "" if size is None else f", {size} rows"
        raise InputError(f"cannot compare method {entry.label or name}{rows}: {error}") from None


def has_setting(config: RunConfig, setting: str) -> bool:
    """Return whether `config` has the key of a setting "key=value". The value is not checked."""
    place: Any = config
    for part in _key(setting).split("."):
        if part not in getattr(type(place), "model_fields", {}) and not (
            part == "kind" and isinstance(place, Component)
        ):
            return False
        place = getattr(place, part)
    return True


def _chooses(config: RunConfig, setting: str) -> bool:
    """Return whether a "key=value" string selects the kind of a component, such as the storage of rows.

    "distill.storage.kind=coded" and "distill.storage=coded" select a kind, but "distill.storage.bits=4" does not.
    """
    place: Any = config
    for part in _key(setting).split("."):
        if part == "kind":
            return isinstance(place, Component)
        place = getattr(place, part, None)
    return isinstance(place, Component)


def _key(setting: str) -> str:
    return setting.partition("=")[0].strip()
