"""Settings of a crossed table: the sets, recipes and models that it combines, and the values tried on validation.

They are read from the preset `comparisons/crossed.toml`, or from a user's TOML file with the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Count, Positive, Seed, Settings
from omnidistill.distillation.set_settings import Budget
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.config import RunConfig, SettingValues, has_setting, load_config, split_tables
from omnidistill.experiments.config.load import as_texts, overridden
from omnidistill.experiments.config.settings_tree import explain
from omnidistill.experiments.config.toml_files import packaged_files, read_file, read_toml
from omnidistill.experiments.crossed.crossed_models import Model, expanded
from omnidistill.training.experts import HeadsConfig
from omnidistill.training.recipes.map_regression import MapRegression

NAME = "crossed"
"""Name of the comparison preset."""
CONTROL = "random"
"""Preset of the random rows with which other sets are compared."""
RecipeName = Literal["own", "sgd", "anchor", "stacked", "map"]
PartName = Literal["table", "robustness", "mismatch"]
RECIPES: tuple[RecipeName, ...] = ("own", "sgd", "anchor", "stacked", "map")
PARTS: tuple[PartName, ...] = ("table", "robustness", "mismatch")
_OF_SETS = ("distill", "experts")
_MAP = MapRegression(ridges=(1.0,))  # for its defaults

Overrides = Annotated[tuple[str, ...], AfterValidator(split_tables)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1)]


class SetEntry(Settings):
    """A set in the table, distilled by one preset with one size."""

    preset: str
    """Name of the preset with which the set is distilled."""
    size: Count | Budget = 100
    """Number of rows of the set, or a size budget such as "1%" of the training features."""
    label: str | None = None
    """Name of the set in the table. If absent, preset and size."""
    settings: Overrides = ()
    """Settings that differ from the preset, as "key=value"."""

    @property
    def name(self) -> str:
        """Unique name of the set in the table."""
        size = self.size if isinstance(self.size, str) else f"{self.size} rows"
        return self.label or f"{self.preset} {size}"


class TeacherEntry(Settings):
    """A teacher: heads from which networks learn. A baseline computes these heads within a size budget."""

    baseline: str
    """Name of the baseline that computes the heads."""
    size: Budget = "1%"
    """Size budget of the heads, such as "1%" of the training features."""

    @property
    def name(self) -> str:
        """Unique name of the teacher in the crossed table."""
        return f"{self.baseline} {self.size}"


class CrossedSettings(Settings):
    """Settings of a crossed table, which shows the recall for combinations of sets, recipes and models."""

    kind: Literal["crossed"] = "crossed"
    """Marks a TOML file as the settings of a crossed table, not of another comparison."""
    sets: Annotated[tuple[SetEntry, ...], Field(min_length=1)]
    """Sets to train on, in the order of the table. Each is compared with the set of random real rows (preset "random")
    of the same size, if there is one."""
    teachers: tuple[TeacherEntry, ...] = ()
    """Heads of baselines that networks are trained to reproduce (recipe "map"), in addition to heads computed from the
    sets."""
    recipes: Annotated[tuple[RecipeName, ...], Field(min_length=1)] = RECIPES
    """Training recipes to compare: "own" (the recipe of the set), "sgd" (SGD on InfoNCE), "anchor" (ridge regression to
    anchors), "stacked" (heads of "anchor" stacked on pre-trained heads), and "map" (networks are trained to reproduce
    the heads of "anchor")."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("linear", "mlp")
    """Models to train. Linear heads: own (the initial heads of the sets), seed-K (pre-trained with another seed),
    width-D (pre-trained with output width D), random and random-D (random, with output width D). Networks: mlp-L, with
    L layers. "linear" and "mlp" stand for a list of usual models."""
    parts: Annotated[tuple[PartName, ...], Field(min_length=1)] = PARTS
    """Parts of the result: "table" (recall of all combinations), "robustness" (changes to each set's own recipe), and
    "mismatch" (sets distilled from partly mismatched training pairs)."""
    seed: Seed = 0
    """Seed for all random numbers."""
    heads: HeadsConfig = HeadsConfig()
    evaluate: EvaluateConfig = EvaluateConfig(num_seeds=2)
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    """Candidate step sizes of the recipe "sgd"; chosen on validation."""
    max_steps: Count = 256
    """Largest candidate for the number of steps of the recipe "sgd". The candidates are 8, 16, 32, ..."""
    ridges: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
    """Candidate ridges of the recipes "anchor", "stacked" and "map"; chosen on validation."""
    weights: Annotated[tuple[Weight, ...], Field(min_length=1)] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Candidate weights of the heads computed from a set when they are stacked on pre-trained heads; chosen on
    validation."""
    hidden: Count = 512
    """Width of the hidden layers of networks."""
    map_steps: Annotated[int, Field(ge=0)] = _MAP.num_steps
    """Number of training steps of the recipe "map"."""
    map_learning_rate: Positive = _MAP.learning_rate
    """Learning rate of AdamW for networks that are trained by the recipe "map"."""
    network_learning_rate: Positive = 1e-3
    """Learning rate of AdamW for networks that are trained on all rows."""
    mismatch_shares: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.0, 0.1, 0.2, 0.4)
    """Fractions of training groups to mismatch: their rows of one modality are paired with rows of other groups."""
    mismatch_presets: tuple[str, ...] = ("anchor-coded", "compact")
    """Presets of the sets that are distilled again from mismatched training pairs."""
    settings: Overrides = ()
    """Settings of the form "distill.KEY=value" or "experts.KEY=value". Each one is applied to every set that has it."""

    @model_validator(mode="after")
    def _consistent(self) -> CrossedSettings:
        names = [*(entry.name for entry in self.sets), *(teacher.name for teacher in self.teachers)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"sets: {name!r} is listed twice; remove one, or give it another label")
        expanded(self.models)
        for teacher in self.teachers:
            baseline = baselines.build(teacher.baseline)
            if not baseline.uses_bytes or baseline.needs_start:
                raise ValueError(
                    f"teachers: baseline '{teacher.baseline}' does not compute heads that fit in a size budget; use "
                    "another one, such as 'cca-bytes-coded' or 'direct-heads-coded'"
                )
        return self

    @property
    def all_models(self) -> tuple[Model, ...]:
        """All models of the crossed table. The groups "linear" and "mlp" are replaced by their members."""
        return expanded(self.models)

    def entry(self, name: str) -> SetEntry:
        """Return the set with this name."""
        return next(entry for entry in self.sets if entry.name == name)

    def teacher(self, name: str) -> TeacherEntry | None:
        """Return the teacher (heads of a baseline that networks learn to reproduce) with this name, or None."""
        return next((each for each in self.teachers if each.name == name), None)

    def control(self, entry: SetEntry | TeacherEntry) -> SetEntry | None:
        """Return the set of random real rows with which a set or teacher of the same size is compared.

        Return None if the table has no such set, or if `entry` is itself this set.

        Args:
            entry: the settings of the set or teacher.
        """
        same = [each for each in self.sets if each.preset == CONTROL and each.size == entry.size]
        return same[0] if same and same[0] != entry else None

    def config(self, entry: SetEntry) -> RunConfig:
        """Return the settings of the run that distils a set.

        Raises:
            InputError: the preset is unknown, or a setting is invalid.
        """
        plain = load_config(preset=entry.preset)
        shared = [text for text in self.settings if has_setting(plain, text)]
        return load_config(
            preset=entry.preset,
            overrides=['evaluate.protocol="ours"', *shared, *entry.settings],
            seed=self.seed,
            distill__size=entry.size,
        ).evolve(heads=self.heads)


def load_crossed(
    source: CrossedSettings | Path | None = None,
    *,
    sets: Sequence[str] | None = None,
    recipes: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    settings: SettingValues = (),
    seed: int | None = None,
) -> CrossedSettings:
    """Return the settings of a crossed table, which shows the recall for every combination of set, recipe and model.

    Args:
        source: complete settings, or a TOML file; None uses the preset of the package.
        sets: names of sets, or of their presets; None includes all sets. If `source` also has a set of random rows that
            is as large as a chosen set, it is included too.
        recipes, models: names of the recipes and models; None uses those of `source`.
        parts: parts of the table: "table" (all combinations), "robustness" (changed recipes) and "mismatch"
            (mismatched training pairs); None uses those of `source`.
        seed: seed for all random numbers; None uses that of `source`.
        settings: individual settings. Keys that start with "distill." or "experts." apply to every set that has such a
            setting. All other keys are settings of the table.

    Raises:
        InputError: a set, recipe, model, part or setting is unknown or invalid.
    """
    where, tree = _source(source)
    for name, values in (("recipes", recipes), ("models", models), ("parts", parts)):
        if values is not None:
            tree[name] = list(values)
    if seed is not None:
        tree["seed"] = seed
    _check_names("recipe", "recipes", tree.get("recipes", ()), RECIPES)
    _check_names("part", "parts", tree.get("parts", ()), PARTS)
    of_sets: list[str] = []
    for key, value in overridden(settings):
        if key.partition(".")[0] in _OF_SETS:
            of_sets += as_texts({key: value})
            continue
        *parents, leaf = key.split(".")
        section = tree
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise InputError(
                    f"settings: '{parent}' is a single setting, not a section of settings; correct the key '{key}'"
                )
        section[leaf] = value
    tree["settings"] = [*tree.get("settings", ()), *of_sets]
    try:
        loaded = CrossedSettings.model_validate_json(json.dumps(to_jsonable_python(tree)))
    except ValidationError as error:
        raise InputError(f"{where}: cannot use the settings: {explain(error, CrossedSettings, tree)}") from None
    configs = [loaded.config(entry) for entry in loaded.sets]
    for text in loaded.settings:
        if not any(has_setting(config, text) for config in configs):
            raise InputError(
                f"setting {text}: none of the synthetic sets in this table has this setting; correct the key"
            )
    return loaded if sets is None else _only(loaded, sets)


def _source(source: CrossedSettings | Path | None) -> tuple[str, dict[str, Any]]:
    if isinstance(source, CrossedSettings):
        return "settings", source.model_dump(mode="json")
    if source is None:
        return f"comparison {NAME}", read_toml(packaged_files("comparisons")[NAME], f"comparison {NAME}")
    return str(source), read_file(source)


def _only(loaded: CrossedSettings, sets: Sequence[str]) -> CrossedSettings:
    known = {entry.name for entry in loaded.sets} | {entry.preset for entry in loaded.sets}
    _check_names("set", "sets", sets, sorted(known))
    chosen = [entry for entry in loaded.sets if entry.name in sets or entry.preset in sets]
    sizes = {entry.size for entry in chosen}
    kept = [each for each in loaded.sets if each in chosen or (each.preset == CONTROL and each.size in sizes)]
    return loaded.evolve(sets=tuple(kept))


def _check_names(role: str, name: str, given: Iterable[Any], known: Sequence[str]) -> None:
    for each in given:
        if each not in known:
            raise InputError(
                f"{argument(name)}: unknown {role} '{each}'{nearest(str(each), known)}; choose from {', '.join(known)}"
            )
