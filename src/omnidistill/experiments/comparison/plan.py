"""What a comparison consists of: cells (a method at a size and a seed) and references (at a size, or of none).

With budgets instead of sizes, the size of each method is what its budget buys.
"""

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
from omnidistill.core.errors import InputError, nearest
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill.budget import LEAST_ROWS, BudgetTooSmallError, parse_budget, training_bytes, with_budget
from omnidistill.models.objectives import objective_from

SIZED: frozenset[Reference] = frozenset({"random", "low-rank", "equal-bytes", "equal-bytes-4-bit"})
"""References that depend on the size of the sets."""


@dataclass(frozen=True)
class Cell:
    """One set to make: `method` names the row of the table, `folder` the place of the result, `budget` the bytes that
    its size was derived from.
    """

    method: str
    config: RunConfig
    budget: int | None = None

    @property
    def size(self) -> int:
        """Rows of the set."""
        return self.config.distill.size

    @property
    def group(self) -> int:
        """What lines are compared within: the budget, or else the size."""
        return self.size if self.budget is None else self.budget

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
    budget: int | None = None

    @property
    def group(self) -> int | None:
        """As that of a cell; None for what depends on neither."""
        return self.size if self.budget is None else self.budget

    @property
    def folder(self) -> str:
        """Unique to the line, its size or else budget, seed and all settings."""
        size = f"-n{self.size}" if self.size else f"-b{self.budget}" if self.budget else ""
        return f"{self.name}{size}-s{self.seed}-{_digest(self.evaluate)}"


AnyCell = Cell | ReferenceCell


def plan_cells(comparison: ComparisonConfig, data: FeatureSet) -> list[Cell]:
    """Every cell: all methods and sizes (or budgets) with the first seed, then with the next. Everything that can be
    told before the work begins is checked here. A method has no cell at a budget that is too small for it.

    Raises InputError for an unknown method or setting, a size above the data, a budget that is none, a method that fits
    no budget, an objective that the data cannot have, a setting that no method uses, a method given twice.
    """
    rows = data.split_sizes.get("train", 0)
    for size in () if comparison.bytes else comparison.sizes:
        if size > rows:
            raise InputError(f"size {size}: exceeds the {rows} training rows; use sizes of at most {rows}")
    entries = _entries(comparison.methods, data.modalities)
    if comparison.bytes:
        cells = _cells_of_budgets(comparison, entries, data)
    else:
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


def plan_references(comparison: ComparisonConfig, evaluate: EvaluateConfig, data: FeatureSet) -> list[ReferenceCell]:
    """Every reference, with the smallest seed; zero-shot and full first: the others are read beside them. At a budget
    rows count as float32, and heads of equal bytes have all of it.
    """
    wanted = ["zero-shot", "full", *(name for name in comparison.references if name not in ("zero-shot", "full"))]
    rows, seed = data.split_sizes["train"], min(comparison.seeds)
    cells = []
    for name in wanted:
        if name not in SIZED:
            cells.append(ReferenceCell(name, None, evaluate, seed))
        elif not comparison.bytes:
            cells += [ReferenceCell(name, size, evaluate, seed) for size in comparison.sizes]
        else:
            for budget in budgets_of(comparison, data):
                size = None if name.startswith("equal-bytes") else min(rows, budget * rows // training_bytes(data))
                if size is None or size >= LEAST_ROWS:
                    cells.append(ReferenceCell(name, size, evaluate, seed, budget))
    return cells


def budgets_of(comparison: ComparisonConfig, data: FeatureSet) -> list[int]:
    """The budgets of a comparison in bytes. Raises InputError for what is none, or one that is given twice."""
    texts = comparison.bytes or ()
    budgets = [parse_budget(text, training_bytes(data)) for text in texts]
    if len(set(budgets)) < len(budgets):
        raise InputError(f"bytes {', '.join(texts)}: two are the same number of bytes; leave one out")
    return budgets


def _cells_of_budgets(
    comparison: ComparisonConfig, entries: Sequence[tuple[str, MethodEntry]], data: FeatureSet
) -> list[Cell]:
    cells: list[Cell] = []
    refused: dict[str, BudgetTooSmallError] = {}
    for seed in comparison.seeds:
        for text, budget in zip(comparison.bytes or (), budgets_of(comparison, data), strict=True):
            for name, entry in entries:
                try:
                    config = with_budget(entry_config(entry, None, seed, comparison), text, data)
                    cells.append(Cell(name, config, budget))
                except BudgetTooSmallError as error:
                    refused[name] = error
    made = {cell.method for cell in cells}
    for name, refusal in refused.items():
        if name not in made:
            raise refusal
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
