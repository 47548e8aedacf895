"""From results to the content of a table: recall, gain retained, difference to the best method, costs.

The runs of a line are the students of all its seeds. Intervals are paired over queries (groups stay together), take
runs as exchangeable, and resample with the smallest seed, which is also that of the baselines. The best method of a size (or budget) is the one with the highest mean of R@1, R@5 and R@10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.data.featureset import FeatureSet
from omnidistill.distill.budget import LEAST_ROWS, training_bytes
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.intervals import gain_retained, paired_difference
from omnidistill.evaluation.retrieval import RECALL_AT, hits
from omnidistill.evaluation.scores import named_intervals, recall_table
from omnidistill.experiments.comparison.cells import Result
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, budgets_of
from omnidistill.experiments.config import ComparisonConfig
from omnidistill.report.run_table import human_bytes


def summarise(
    comparison: ComparisonConfig,
    fitted: Sequence[BaselineCell],
    cells: Sequence[Cell],
    results: Mapping[AnyCell, Result],
    failures: Mapping[AnyCell, str],
    data: FeatureSet,
) -> dict[str, Any]:
    """Data, protocol, seeds and one entry a line (see `report.comparison_fields`), JSON-ready."""
    rows: dict[tuple[str, int | None], list[AnyCell]] = {}
    every: list[AnyCell] = [*fitted, *cells]
    for each in every:
        rows.setdefault((_row(each), each.group), []).append(each)
    lines = [_Line(method, of, results, failures) for (method, _), of in rows.items()]
    groups = data.split("test").group_codes
    zero, full = (next(line for line in lines if line.method == name) for name in ("zero-shot", "full"))
    best = {group: _best(lines, group) for group in {line.group for line in lines}}
    return {
        "data": {
            "name": str(data.provenance.get("name", "data")),
            "widths": data.widths,
            "rows": data.split_sizes,
            "bytes": training_bytes(data),
        },
        "protocol": _protocol(comparison, lines, budgets_of(comparison, data)),
        "seeds": list(comparison.seeds),
        "num_students": comparison.num_students,
        "lines": [line.entry(zero, full, best[line.group], groups, min(comparison.seeds)) for line in lines],
    }


class _Line:
    def __init__(
        self,
        method: str,
        cells: Sequence[AnyCell],
        results: Mapping[AnyCell, Result],
        failures: Mapping[AnyCell, str],
    ) -> None:
        self.method, self.size, self.budget, self.group = method, cells[0].size, cells[0].budget, cells[0].group
        self.is_method = isinstance(cells[0], Cell)
        self.results = [results[cell] for cell in cells if cell in results]
        self.failures = [
            {"seed": cell.config.seed if isinstance(cell, Cell) else cell.seed, "error": failures[cell]}
            for cell in cells
            if cell in failures
        ]
        self.label = cells[0].config.method if isinstance(cells[0], Cell) else cells[0].name
        if self.results and not self.is_method:
            self.label = self.results[0].meta["label"]
        self.ranks = [run for result in self.results for run in result.ranks]

    @property
    def hits(self) -> Float[Tensor, "R n K"]:
        return torch.stack([hits(run, RECALL_AT) for run in self.ranks])

    @property
    def score(self) -> float:
        return float(self.hits.mean()) if self.ranks else -1.0

    def entry(self, zero: _Line, full: _Line, best: _Line | None, groups: Tensor, seed: int) -> dict[str, Any]:
        group = "" if self.group is None else f"@{self.group}" if self.budget is None else f"@{self.budget}B"
        found: dict[str, Any] = {
            "name": self.method + group,
            "method": self.method,
            "label": self.label,
            "kind": "method" if self.is_method else "reference",
            "size": self.size,
            "budget": self.budget,
            "recall": None,
            "gain_retained": None,
            "difference_to_best": None,
            "seconds": None,
            "bytes": None,
            "peak_bytes": None,
            "choices": None,
            "failures": self.failures,
        }
        if not self.ranks:
            return found
        metas = [result.meta for result in self.results]
        found["recall"] = recall_table(self.ranks)
        if zero.ranks and full.ranks:
            gain = gain_retained(zero.hits[0], full.hits, self.hits, groups, seed=seed)
            found["gain_retained"] = named_intervals(gain)
        if self.is_method and best is not None and best is not self:
            found["difference_to_best"] = named_intervals(paired_difference(self.hits, best.hits, groups, seed=seed))
        stages = {stage for meta in metas for stage in meta["seconds"]}
        found["seconds"] = {stage: fmean(meta["seconds"].get(stage, 0.0) for meta in metas) for stage in sorted(stages)}
        found["bytes"] = metas[0]["bytes"]
        peaks = [meta["peak_bytes"] for meta in metas if meta["peak_bytes"] is not None]
        found["peak_bytes"] = max(peaks) if peaks else None
        found["choices"] = max(meta["judged"] for meta in metas)
        return found


def _row(cell: AnyCell) -> str:
    """The name of a line over all groups; a method that is called like a reference is told from it."""
    if isinstance(cell, BaselineCell):
        return cell.name
    return f"{cell.method}-set" if cell.method in baselines else cell.method


def _best(lines: Sequence[_Line], group: int | None) -> _Line | None:
    methods = [line for line in lines if line.is_method and line.group == group and line.ranks]
    return max(methods, key=lambda line: line.score) if methods else None


def _protocol(comparison: ComparisonConfig, lines: Sequence[_Line], budgets: Sequence[int]) -> list[str]:
    judged = [result.meta["judged"] for line in lines if line.is_method for result in line.results]
    choices = f"from {min(judged)} to {max(judged)}" if judged else "no"
    sets = f"{len(comparison.seeds)} set{'s' if len(comparison.seeds) > 1 else ''}"
    made = f"{sets} of a {'budget' if budgets else 'size'}, one a seed, {comparison.num_students} students a set"
    return [
        *_left_out(lines, budgets),
        f"Every method: {made}, all from the same heads; every reference has as many runs as a set has students.",
        f"Choices (iteration, step size, steps) were made on validation, {choices} students compared for a set.",
        "The test split was scored after all choices, once.",
        "Intervals are 95 % paired bootstraps over groups of queries and runs.",
        "Gain retained is (line - zero-shot) / (all rows by InfoNCE - zero-shot).",
        "Seconds of a method are those of one set: experts (in full, though shared), distillation and students.",
        "Seconds of a baseline are those of tuning it and of training all its runs.",
    ]


def _left_out(lines: Sequence[_Line], budgets: Sequence[int]) -> list[str]:
    """A sentence on the methods that have no line at a budget."""
    labels = {line.method: line.label for line in lines if line.is_method}
    present = {(line.method, line.group) for line in lines}
    missing = [
        f"{label} ({human_bytes(budget)})"
        for budget in budgets
        for method, label in labels.items()
        if (method, budget) not in present
    ]
    return [f"Left out, as fewer than {LEAST_ROWS} rows fit: {', '.join(missing)}."] if missing else []
