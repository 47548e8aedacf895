"""Summarise results into the content of a table: recall, gain retained, difference from the best method, and costs.

The recall of a method is the mean over all its students for all seeds. For its confidence intervals, the students of
each set (one set per seed) are averaged first. The intervals of a baseline are computed from its runs. The best method
at a size (or budget) is the one with the highest mean of R@1, R@5 and R@10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import fmean

import torch

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.budget import LEAST_ROWS, training_bytes
from omnidistill.evaluation.baselines import baselines
from omnidistill.evaluation.directions import Gallery
from omnidistill.evaluation.hits import Hits, mean_hits, mean_unit
from omnidistill.evaluation.intervals import Coverage
from omnidistill.evaluation.scores import Scoring
from omnidistill.experiments.comparison.cells import Result
from omnidistill.experiments.comparison.plan import AnyCell, BaselineCell, Cell, budgets_of
from omnidistill.experiments.config import ComparisonConfig
from omnidistill.experiments.run import versions
from omnidistill.report.comparison_content import Comparison, ComparisonData, ComparisonRow, Failure, Seconds
from omnidistill.report.run_table import bytes_facts, human_bytes


def summarise(
    comparison: ComparisonConfig,
    fitted: Sequence[BaselineCell],
    cells: Sequence[Cell],
    results: Mapping[AnyCell, Result],
    failures: Mapping[AnyCell, str],
    data: FeatureSet,
    evaluate: EvaluateConfig | None = None,
    *,
    name: str = "comparison",
    command: str = "",
    heads: str | None = None,
    initial_heads: int | None = None,
) -> Comparison:
    """Return the content of a comparison.

    Args:
        comparison: the settings of the comparison.
        fitted: the baselines, in the order of the table.
        cells: the cells (one method, size and seed each), in the order of the table.
        results: results of the cells and baselines that succeeded.
        failures: errors of the cells and baselines that failed.
        data: the dataset.
        evaluate: metrics and gallery; None uses the evaluation settings of the baselines.
        name: name of the comparison.
        command: the command that ran the comparison.
        heads: fingerprint of the heads that every student starts from.
        initial_heads: size in bytes of the files of the initial heads; None if it is not known.
    """
    cells_of_rows: dict[tuple[str, int | None], list[AnyCell]] = {}
    every: list[AnyCell] = [*fitted, *cells]
    for cell in every:
        cells_of_rows.setdefault((_method_name(cell), cell.group), []).append(cell)
    evaluate = evaluate or fitted[0].evaluate
    scoring = Scoring.of(data.split("test"), evaluate)
    rows = [_Row(method, of_row, results, failures, scoring) for (method, _), of_row in cells_of_rows.items()]
    zero, full = (next(row for row in rows if row.method == method) for method in ("zero-shot", "full"))
    reference = next((row for row in rows if row.method == "best" and not row.is_method), None)
    best = {group: _best(rows, group) for group in {row.group for row in rows}}
    return Comparison(
        name=name,
        command=command,
        layout=comparison.layout,
        versions=versions(),
        heads=heads,
        data=data_facts(data),
        protocol=[
            *_protocol(comparison, rows, budgets_of(comparison, data), scoring, evaluate.gallery),
            *bytes_facts(initial_heads, list(dict.fromkeys(row.label for row in rows if not row.needs_start))),
        ],
        seeds=list(comparison.seeds),
        num_students=comparison.num_students,
        rows=[row.content(zero, full, reference, best[row.group]) for row in rows],
    )


class _Row:
    """One row of the table, with its results: a method at one size (one run per seed), or a baseline."""

    def __init__(
        self,
        method: str,
        cells: Sequence[AnyCell],
        results: Mapping[AnyCell, Result],
        failures: Mapping[AnyCell, str],
        scoring: Scoring,
    ) -> None:
        self.scoring = scoring
        self.method, self.size, self.budget, self.group = method, cells[0].size, cells[0].budget, cells[0].group
        self.is_method = isinstance(cells[0], Cell)
        self.needs_start = cells[0].needs_start
        self.results = [results[cell] for cell in cells if cell in results]
        self.failures = [
            Failure(seed=cell.config.seed if isinstance(cell, Cell) else cell.seed, error=failures[cell])
            for cell in cells
            if cell in failures
        ]
        self.label = cells[0].config.method if isinstance(cells[0], Cell) else cells[0].name
        if self.results and not self.is_method:
            self.label = self.results[0].meta["label"]
        self.rankings = [run for result in self.results for run in result.rankings]

    @cached_property
    def hits(self) -> Hits:
        """Hits in each direction.

        For a method, there is one entry per set: the mean over its students. For a baseline, there is one entry per
        run.
        """
        results = [self.scoring.hits(result.rankings) for result in self.results]
        units = [mean_unit(hits) for hits in results] if self.is_method else results
        return [torch.cat(of_direction) for of_direction in zip(*units, strict=True)]

    @property
    def coverage(self) -> Coverage:
        """Sources of variation that the confidence intervals of the row include."""
        return Coverage.of_sets(len(self.results)) if self.is_method else Coverage.of_runs(len(self.rankings))

    @property
    def score(self) -> float:
        """Mean recall over directions and values of K in R@K; -1 if every run failed."""
        return float(mean_hits(self.hits).mean()) if self.rankings else -1.0

    def content(self, zero: _Row, full: _Row, reference: _Row | None, best: _Row | None) -> ComparisonRow:
        """Return this row as content of the table. The arguments are the rows with which it is compared.

        Args:
            zero: the row of the initial heads.
            full: the row of heads trained on all data rows by InfoNCE.
            reference: the row of the best heads trained on all data rows; None if it is not among the baselines.
            best: the row of the best method with the same size or budget; None if every method failed.
        """
        group = "" if self.group is None else f"@{self.group}" if self.budget is None else f"@{self.budget}B"
        row = ComparisonRow(
            name=self.method + group,
            method=self.method,
            label=self.label,
            kind="method" if self.is_method else "reference",
            size=self.size,
            budget=self.budget,
            needs_start=self.needs_start,
            recall=None,
            failures=self.failures,
        )
        if not self.rankings:
            return row
        gain, gain_of_best, difference = None, None, None
        if zero.rankings and full.rankings:
            gain = self.scoring.gain([each[:1] for each in zero.hits], full.hits, self.hits)
        if zero.rankings and reference is not None and reference.rankings:
            gain_of_best = self.scoring.gain([each[:1] for each in zero.hits], reference.hits, self.hits)
        if self.is_method and best is not None and best is not self:
            difference = self.scoring.difference(self.hits, best.hits)
        costs = [result.meta for result in self.results]
        stages = {stage for cost in costs for stage in cost["seconds"]}
        return row.evolve(
            recall=self.scoring.recall(self.rankings),
            metrics=self.scoring.metrics(self.rankings),
            gain_retained=gain,
            gain_retained_best=gain_of_best,
            difference_to_best=difference,
            coverage=self.coverage,
            seconds=Seconds(**{stage: fmean(cost["seconds"].get(stage, 0.0) for cost in costs) for stage in stages}),
            bytes=costs[0]["bytes"],
            peak_bytes=max((cost["peak_bytes"] for cost in costs if cost["peak_bytes"] is not None), default=None),
            choices=max(cost["judged"] for cost in costs),
        )


def _method_name(cell: AnyCell) -> str:
    """Return the name of a method or baseline. The name of a method gets "-set" if a baseline has the same name."""
    if isinstance(cell, BaselineCell):
        return cell.name
    return f"{cell.method}-set" if cell.method in baselines else cell.method


def _best(rows: Sequence[_Row], group: int | None) -> _Row | None:
    methods = [row for row in rows if row.is_method and row.group == group and row.rankings]
    return max(methods, key=lambda row: row.score) if methods else None


def _protocol(
    comparison: ComparisonConfig, rows: Sequence[_Row], budgets: Sequence[int], scoring: Scoring, gallery: Gallery
) -> list[str]:
    judged = [result.meta["judged"] for row in rows if row.is_method for result in row.results]
    choices = f"{min(judged)} to {max(judged)}" if judged else "no"
    has_best = any(row.method == "best" and not row.is_method and row.rankings for row in rows)
    sets = f"{len(comparison.seeds)} set{'s' if len(comparison.seeds) > 1 else ''}"
    sets = f"{sets} per {'budget' if budgets else 'size'}, one per seed, {comparison.num_students} students per set"
    return [
        *_left_out(rows, budgets),
        f"Every method: {sets}, all from the same heads; every baseline has as many runs as a set has students.",
        f"Choices (iteration, step size, steps) were made on validation, with {choices} students compared per set.",
        "The test split was scored after all choices, once.",
        *scoring.facts(gallery),
        "Intervals are 95 % and paired over groups of queries. All sets share heads and experts.",
        "Gain retained is (row - zero-shot) / (all rows by InfoNCE - zero-shot), with the interval of Fieller.",
        *(["Gain of best is (row - zero-shot) / (best on all rows - zero-shot)."] if has_best else []),
        "Seconds of a method are those of one set: experts (in full, although shared), distillation and students.",
        "Seconds of a baseline include tuning it and training all its runs.",
    ]


def _left_out(rows: Sequence[_Row], budgets: Sequence[int]) -> list[str]:
    """Return a list with one sentence that names the methods for which a budget is too small; [] if there are none."""
    labels = {row.method: row.label for row in rows if row.is_method}
    present = {(row.method, row.group) for row in rows}
    missing = [
        f"{label} ({human_bytes(budget)})"
        for budget in budgets
        for method, label in labels.items()
        if (method, budget) not in present
    ]
    return [f"Left out, because fewer than {LEAST_ROWS} rows fit: {', '.join(missing)}."] if missing else []


def data_facts(data: FeatureSet) -> ComparisonData:
    """Return the facts about the dataset that tables and pages show."""
    name, size = str(data.provenance.get("name", "data")), training_bytes(data)
    return ComparisonData(name=name, widths=data.widths, rows=data.split_sizes, bytes=size)
