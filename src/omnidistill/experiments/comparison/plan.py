"""What a comparison consists of: cells (a method at a size and a seed) and baselines (at a size, or of none).

With budgets instead of sizes, the size of each method is the largest that fits its budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from omnidistill.core.arguments import setting
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Settings
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import BudgetTooSmallError, parse_budget, training_bytes
from omnidistill.distillation.version_0_1 import RENAMED
from omnidistill.evaluation.baselines import Allowance, Baseline
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, RunConfig, entry_config, has_setting
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.config.settings_tree import keys
from omnidistill.experiments.table_baselines import Group, setting_of, table_baselines
from omnidistill.models.heads import Heads


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
        return self.config.distill.num_stored

    @property
    def group(self) -> int:
        """What lines are compared within: the budget, or else the size."""
        return self.size if self.budget is None else self.budget

    @property
    def folder(self) -> str:
        """Unique to method, size, seed and all settings."""
        return f"{self.title}-{_digest(self.config)}"

    @property
    def title(self) -> str:
        """Method, size and seed, as progress shows them."""
        return f"{self.method.replace('/', '.')}-n{self.size}-s{self.config.seed}"


@dataclass(frozen=True)
class BaselineCell:
    """One baseline to fit. size, budget: those of the sets that it is compared with; None of a baseline without."""

    baseline: Baseline
    evaluate: EvaluateConfig
    seed: int
    size: int | None = None
    budget: int | None = None
    allowance: Allowance | None = None

    @property
    def name(self) -> str:
        """Name of the row of the table."""
        return self.baseline.name

    @property
    def group(self) -> int | None:
        """What rows are compared within: the budget, or else the size; None for what depends on neither."""
        return self.size if self.budget is None else self.budget

    @property
    def folder(self) -> str:
        """Unique to the baseline, what it may use, seed and all settings."""
        allowed = f"-{self.allowance.bytes}B" if self.allowance and self.baseline.needs else ""
        named = self.baseline == type(self.baseline)() or self.name != self.baseline.kind  # the name says everything
        settings = "" if named else f"-{_digest(self.baseline)}"
        return f"{self.title}-{_digest(self.evaluate)}{allowed}{settings}"

    @property
    def title(self) -> str:
        """Name, size or budget, and seed, as progress shows them."""
        size = f"-b{self.budget}" if self.budget else f"-n{self.size}" if self.size else ""
        return f"{self.name}{size}-s{self.seed}"


AnyCell = Cell | BaselineCell


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
    for text in comparison.settings:
        if not any(has_setting(cell.config, text) for cell in cells):
            key = text.partition("=")[0].strip()
            if key in RENAMED:
                raise InputError(f"{setting(text)}: setting '{key}' is now '{RENAMED[key]}'; see docs/upgrading.md")
            known = {each for cell in cells for each in keys(cell.config.model_dump())}
            hint = nearest(key, known)
            raise InputError(f"{setting(text)}: no method of this comparison has that setting{hint}")
    for cell in cells:
        for part in [data.modalities] if cell.config.joint else combinations(data.modalities, 2):
            for objective in (cell.config.distill.student, cell.config.experts.objective):
                objective.bind(part)
    return cells


def plan_baselines(
    comparison: ComparisonConfig, evaluate: EvaluateConfig, cells: Sequence[Cell], data: FeatureSet, start: Heads
) -> list[BaselineCell]:
    """Return every baseline with the smallest seed; those that gain is measured between first, sized ones per group.

    A baseline without meaning (a rank that does not restrict the heads, a budget of less than two rows) is left out.
    """
    groups: dict[tuple[int, int | None], list[RunConfig]] = {}
    for cell in cells:
        groups.setdefault((cell.group, cell.budget), []).append(cell.config)
    if comparison.bytes:  # also where no method fits
        for budget in budgets_of(comparison, data):
            groups.setdefault((budget, budget), [])
    development, seed = data.development(), min(comparison.seeds)
    planned = []
    for baseline in table_baselines(comparison.baselines, [cell.config for cell in cells], evaluate):
        if not baseline.sized:
            planned.append(BaselineCell(baseline, evaluate, seed))
            continue
        for (number, group_budget), configs in groups.items():
            group = Group(tuple(configs), group_budget)
            setting = setting_of(baseline, data, development, start, evaluate, seed, group)
            if setting is not None:
                size = number if group_budget is None else None
                planned.append(BaselineCell(baseline, evaluate, seed, size, group_budget, setting.allowance))
    return planned


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
                    config = resolve_size(entry_config(entry, None, seed, comparison, text), data)
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
        entry.evolve(
            label=f"{entry.label or entry.preset} ({name})",
            settings=(*entry.settings, f'distill.student.anchor="{name}"', f'experts.objective.anchor="{name}"'),
        )
        for name in modalities
    ]


def _digest(settings: Settings) -> str:
    """Eight hex digits of what decides a result: all settings but names in tables."""
    tree = settings.model_dump(mode="json", exclude={"method", "label"})
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]
