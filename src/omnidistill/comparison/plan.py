"""What a comparison consists of: cells (a method at a size and a seed) and references (at a size, or of none)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from omnidistill.config import (
    ComparisonConfig,
    EvaluateConfig,
    MethodEntry,
    Reference,
    RunConfig,
    entry_config,
    has_setting,
)
from omnidistill.errors import InputError, nearest
from omnidistill.features.featureset import FeatureSet
from omnidistill.objectives import objective_from

SIZED: frozenset[Reference] = frozenset({"random", "low-rank", "equal-bytes"})
"""References that depend on the size of the sets."""


@dataclass(frozen=True)
class Cell:
    """One set to make: `method` names the row of the table, `folder` the place of the result."""

    method: str
    config: RunConfig

    @property
    def size(self) -> int:
        """Rows of the set."""
        return self.config.distill.size

    @property
    def folder(self) -> str:
        """Unique to method, size, seed and all settings."""
        return f"{self.method.replace('/', '.')}-n{self.size}-s{self.config.seed}-{_digest(self.config)}"


@dataclass(frozen=True)
class ReferenceCell:
    """One reference line to train."""

    name: Reference
    size: int | None
    evaluate: EvaluateConfig
    seed: int

    @property
    def folder(self) -> str:
        """Unique to the line, its size, seed and all settings."""
        size = "" if self.size is None else f"-n{self.size}"
        return f"{self.name}{size}-s{self.seed}-{_digest(self.evaluate)}"


AnyCell = Cell | ReferenceCell


def plan_cells(comparison: ComparisonConfig, data: FeatureSet) -> list[Cell]:
    """Every cell: all methods and sizes with the first seed, then with the next. Everything that can be told before
    the work begins is checked here.

    Raises InputError for an unknown method or setting, a size above the data, an objective that the data cannot have,
    a setting that no method uses, a method given twice.
    """
    rows = data.split_sizes.get("train", 0)
    for size in comparison.sizes:
        if size > rows:
            raise InputError(f"size {size}: exceeds the {rows} training rows; use sizes of at most {rows}")
    entries = _entries(comparison.methods, data.modalities)
    cells = [
        Cell(name, entry_config(entry, size, seed, comparison))
        for seed in comparison.seeds
        for size in comparison.sizes
        for name, entry in entries
    ]
    for setting in comparison.settings:
        if not any(has_setting(cell.config, setting) for cell in cells):
            known = {key for cell in cells for key in _keys(cell.config.model_dump())}
            hint = nearest(setting.partition("=")[0].strip(), known)
            raise InputError(f"--set {setting}: no method of this comparison has that setting{hint}")
    for cell in cells:
        for part in [data.modalities] if cell.config.joint else combinations(data.modalities, 2):
            for objective in (cell.config.distill.student, cell.config.experts.objective):
                objective_from(objective, part)
    return cells


def plan_references(comparison: ComparisonConfig, evaluate: EvaluateConfig) -> list[ReferenceCell]:
    """Every reference, with the smallest seed; zero-shot and full first: the others are read beside them."""
    wanted = ["zero-shot", "full", *(name for name in comparison.references if name not in ("zero-shot", "full"))]
    cells = []
    for name in wanted:
        sizes: Sequence[int | None] = comparison.sizes if name in SIZED else (None,)
        cells += [ReferenceCell(name, size, evaluate, min(comparison.seeds)) for size in sizes]
    return cells


def _entries(methods: Sequence[MethodEntry], modalities: Sequence[str]) -> list[tuple[str, MethodEntry]]:
    """(name of the row, entry), anchors spelt out."""
    found: dict[str, MethodEntry] = {}
    for entry in methods:
        for each in _by_anchor(entry, modalities) if entry.each_anchor else [entry]:
            name = each.preset.replace("-{size}", "").replace("{size}", "")
            if each.settings:
                name += "-" + _digest(each)
            if name in found:
                raise InputError(f"method {entry.preset}: is given twice; leave one out or give it other settings")
            found[name] = each
    return list(found.items())


def _by_anchor(entry: MethodEntry, modalities: Sequence[str]) -> list[MethodEntry]:
    return [
        entry.model_copy(
            update={
                "label": f"{entry.label or entry.preset} ({name})",
                "settings": (
                    *entry.settings,
                    f'distill.student.anchor="{name}"',
                    f'experts.objective.anchor="{name}"',
                ),
            }
        )
        for name in modalities
    ]


def _digest(settings: RunConfig | EvaluateConfig | MethodEntry) -> str:
    """Eight hex digits of what decides a result: all settings but names in tables."""
    tree = settings.model_dump(mode="json", exclude={"method", "label"})
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]


def _keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of all values."""
    for name, value in tree.items():
        yield from _keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [prefix + name]
