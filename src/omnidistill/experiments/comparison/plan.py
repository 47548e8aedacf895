"""The plan of a comparison: a cell for every combination of method, size and seed, and the baselines.

If the comparison has budgets instead of sizes, each method gets the largest size that fits the budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from omnidistill.core.arguments import setting
from omnidistill.core.errors import InputError, nearest
from omnidistill.core.settings import Settings
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import BudgetTooSmallError, parse_budget, training_bytes
from omnidistill.distillation.version_0_1 import RENAMED
from omnidistill.evaluation.baselines import Allowance, Baseline, baselines
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.experiments.config import ComparisonConfig, MethodEntry, RunConfig, entry_config, has_setting
from omnidistill.experiments.config.budgets import resolve_size
from omnidistill.experiments.config.settings_tree import keys
from omnidistill.experiments.table_baselines import Group, all_needs, setting_of, table_baselines
from omnidistill.models.heads import Heads


@dataclass(frozen=True)
class Cell:
    """A cell of a comparison: one set to distil, with a method, a size and a seed.

    Attributes:
        method: name of the method, which is the name of the row in the table.
        config: settings of the run.
        budget: budget in bytes that determined the size; None if the size was given directly.
    """

    method: str
    config: RunConfig
    budget: int | None = None

    @property
    def size(self) -> int:
        """Number of rows of the set."""
        return self.config.distill.num_stored

    @property
    def needs_start(self) -> bool:
        """Whether training on the set also requires the initial heads."""
        return self.config.distill.placeholder_recipe(2).uses_start

    @property
    def group(self) -> int:
        """The budget in bytes if there is one, else the size. Sets of the same group are compared with each other."""
        return self.size if self.budget is None else self.budget

    @property
    def folder(self) -> str:
        """Name of the result folder, unique to this combination of method, size, seed and settings."""
        return f"{self.title}-{_digest(self.config)}"

    @property
    def title(self) -> str:
        """Method, size and seed, as shown in the progress display."""
        return f"{self.method.replace('/', '.')}-n{self.size}-s{self.config.seed}"


@dataclass(frozen=True)
class BaselineCell:
    """A baseline to fit.

    Attributes:
        baseline: the baseline.
        evaluate: settings of the evaluation.
        seed: seed for the random streams of the baseline.
        size: number of rows of the sets with which the baseline is compared; None if their budget is given instead.
        budget: budget in bytes of these sets; None if their size is given instead.
        allowance: largest numbers of rows and bytes that the baseline may use.
        given: all baselines that this one needs, directly or indirectly, except those with default settings.

    `size`, `budget` and `allowance` are None for a baseline that does not depend on the size of the sets.
    """

    baseline: Baseline
    evaluate: EvaluateConfig
    seed: int
    size: int | None = None
    budget: int | None = None
    allowance: Allowance | None = None
    given: tuple[Baseline, ...] = ()

    @property
    def needed(self) -> list[BaselineCell]:
        """The baselines that this baseline directly needs, with the same evaluation settings and seed.

        A needed baseline that depends on the size of the compared sets also gets the same size, budget and allowance.
        """
        given = {baseline.kind: baseline for baseline in self.given}
        cells = [
            _baseline_cell(given.get(name) or baselines.build(name), self.evaluate, self.seed, self.given)
            for name in self.baseline.needs
        ]
        return [
            replace(cell, size=self.size, budget=self.budget, allowance=self.allowance) if cell.baseline.sized else cell
            for cell in cells
        ]

    @property
    def needs_start(self) -> bool:
        """Whether using the baseline also requires the initial heads, which its size in bytes does not include."""
        return self.baseline.needs_start

    @property
    def name(self) -> str:
        """Name of the row in the table."""
        return self.baseline.name

    @property
    def group(self) -> int | None:
        """The budget in bytes if there is one, else the size; None if the baseline depends on neither."""
        return self.size if self.budget is None else self.budget

    @property
    def folder(self) -> str:
        """Name of the result folder.

        The name is different for every combination of baseline, size (or budget), allowed bytes, seed and settings.
        """
        limited = self.baseline.uses_bytes or bool(self.baseline.needs)
        allowed = f"-{self.allowance.bytes}B" if self.allowance and limited else ""
        # A baseline with default settings, or whose name contains its settings, is determined by its name.
        named = self.baseline == type(self.baseline)() or self.name != self.baseline.kind
        settings = "" if named else f"-{_digest(self.baseline)}"
        given = "".join(f"-{_digest(baseline)}" for baseline in self.given)
        return f"{self.title}-{_digest(self.evaluate)}{allowed}{settings}{given}"

    @property
    def title(self) -> str:
        """Title for the progress display: the name, then the size (or the budget), then the seed."""
        size = f"-b{self.budget}" if self.budget else f"-n{self.size}" if self.size else ""
        return f"{self.name}{size}-s{self.seed}"


AnyCell = Cell | BaselineCell


def plan_cells(comparison: ComparisonConfig, data: FeatureSet) -> list[Cell]:
    """Return all cells, sorted by seed: one cell per combination of method, size (or budget) and seed.

    All inputs are checked. If a budget is too small for a method, the method has no cell with this budget.

    Raises:
        InputError: a method is unknown or is given twice, a setting does not exist for any method, a size exceeds the
            number of training rows, a budget is invalid, all budgets are too small for a method, or an objective does
            not apply to the modalities.
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
            if (new := RENAMED.get(key)) is not None:
                raise InputError(f"{setting(text)}: setting '{key}' is now called '{new}'; see docs/upgrading.md")
            hint = nearest(key, {each for cell in cells for each in keys(cell.config.model_dump())})
            raise InputError(
                f"{setting(text)}: none of the compared methods has the setting '{key}'; 'omnidistill config "
                f"--explain' lists settings{hint}"
            )
    for cell in cells:
        for part in [data.modalities] if cell.config.joint else combinations(data.modalities, 2):
            for objective in (cell.config.distill.student, cell.config.experts.objective):
                objective.bind(part)
    return [replace(cell, config=cell.config.evolve(evaluate=_without_metrics(cell.config.evaluate))) for cell in cells]


def _without_metrics(evaluate: EvaluateConfig) -> EvaluateConfig:
    """Return the evaluation settings without metrics, because any metric can be computed from stored rankings."""
    return evaluate.evolve(metrics=None)


def plan_baselines(
    comparison: ComparisonConfig, evaluate: EvaluateConfig, cells: Sequence[Cell], data: FeatureSet, start: Heads
) -> list[BaselineCell]:
    """Return all baselines to fit. Each uses the smallest seed of the comparison.

    `zero-shot` and `full`, which define gain retained, come first. A baseline that depends on the size appears once per
    size (or budget), except where it is not defined, for example if fewer than two rows fit the budget.
    """
    evaluate = _without_metrics(evaluate)
    groups: dict[tuple[int, int | None], list[RunConfig]] = {}
    for cell in cells:
        groups.setdefault((cell.group, cell.budget), []).append(cell.config)
    if comparison.bytes:  # also budgets that are too small for every method
        for budget in budgets_of(comparison, data):
            groups.setdefault((budget, budget), [])
    development, seed = data.development(), min(comparison.seeds)
    planned = []
    table = table_baselines(comparison.baselines, [cell.config for cell in cells], evaluate)
    for baseline in table:
        plain = _baseline_cell(baseline, evaluate, seed, table)
        if not baseline.sized:
            planned.append(plain)
            continue
        for (number, group_budget), configs in groups.items():
            group = Group(tuple(configs), group_budget)
            setting = setting_of(baseline, data, development, start, evaluate, seed, group)
            if setting is not None:
                size = number if group_budget is None else None
                planned.append(replace(plain, size=size, budget=group_budget, allowance=setting.allowance))
    return planned


def _baseline_cell(baseline: Baseline, evaluate: EvaluateConfig, seed: int, others: Sequence[Baseline]) -> BaselineCell:
    """Return the entry of the comparison plan for a baseline.

    Its field `given` lists the baselines in `others` that `baseline` needs, directly or indirectly, except those with
    default settings.
    """
    needs = all_needs(baseline)
    given = tuple(other for other in others if other.kind in needs and other != type(other)())
    return BaselineCell(baseline, evaluate, seed, given=given)


def budgets_of(comparison: ComparisonConfig, data: FeatureSet) -> list[int]:
    """Return the budgets of a comparison in bytes. Raises InputError for an invalid or repeated budget."""
    texts = comparison.bytes or ()
    budgets = [parse_budget(text, training_bytes(data)) for text in texts]
    if len(set(budgets)) < len(budgets):
        raise InputError(f"bytes {', '.join(texts)}: two budgets have the same number of bytes; remove one")
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
    planned = {cell.method for cell in cells}
    for name, refusal in refused.items():
        if name not in planned:
            raise refusal
    return cells


def _entries(methods: Sequence[MethodEntry], modalities: Sequence[str]) -> list[tuple[str, MethodEntry]]:
    """Return (name of the table row, entry) for every method.

    A method that sets `each_anchor` has one entry per modality. That modality is the anchor of the entry: the losses
    compare only pairs that contain it.
    """
    entries: dict[str, MethodEntry] = {}
    for entry in methods:
        for each in _by_anchor(entry, modalities) if entry.each_anchor else [entry]:
            name = each.preset.replace("-{size}", "").replace("{size}", "")
            if each.settings:
                name += "-" + _digest(each)
            if name in entries:
                raise InputError(
                    f"method {entry.preset} is listed twice; remove one of the entries, or give them different settings"
                )
            entries[name] = each
    return list(entries.items())


def _by_anchor(entry: MethodEntry, modalities: Sequence[str]) -> list[MethodEntry]:
    return [
        entry.evolve(
            label=f"{entry.label or entry.preset} ({name})",
            settings=(*entry.settings, f'distill.student.anchor="{name}"', f'experts.objective.anchor="{name}"'),
        )
        for name in modalities
    ]


def _digest(settings: Settings) -> str:
    """Return a digest (8 hex digits) of all settings that affect the result; names shown in tables are excluded."""
    tree = settings.model_dump(mode="json", exclude={"method", "label"})
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]
