"""From results to the content of a table: recall, gain retained, difference to the best method, costs.

The runs of a line are the students of all its seeds. Intervals are paired over queries (groups stay together) and
take runs as exchangeable. The best method of a size is the one with the highest mean of R@1, R@5 and R@10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.comparison.cells import Result
from omnidistill.comparison.plan import AnyCell, Cell, ReferenceCell
from omnidistill.config import ComparisonConfig
from omnidistill.evaluation.retrieval import RECALL_AT, hits
from omnidistill.evaluation.scores import named_intervals, recall_table
from omnidistill.evaluation.statistics import gain_retained, paired_difference
from omnidistill.features.featureset import FeatureSet


def summarise(
    comparison: ComparisonConfig,
    references: Sequence[ReferenceCell],
    cells: Sequence[Cell],
    results: Mapping[AnyCell, Result],
    failures: Mapping[AnyCell, str],
    data: FeatureSet,
) -> dict[str, Any]:
    """Data, protocol, seeds and one entry a line (see `report.comparison_fields`), JSON-ready."""
    rows: dict[tuple[str, int | None], list[AnyCell]] = {}
    every: list[AnyCell] = [*references, *cells]
    for each in every:
        rows.setdefault((each.method if isinstance(each, Cell) else each.name, each.size), []).append(each)
    lines = [_Line(method, size, of, results, failures) for (method, size), of in rows.items()]
    groups = data.split("test").group_codes
    zero, full = (next(line for line in lines if line.method == name) for name in ("zero-shot", "full"))
    best = {size: _best(lines, size) for size in comparison.sizes}
    return {
        "data": {"name": str(data.provenance.get("name", "data")), "widths": data.widths, "rows": data.split_sizes},
        "protocol": _protocol(comparison, lines),
        "seeds": list(comparison.seeds),
        "num_students": comparison.num_students,
        "lines": [line.entry(zero, full, best.get(line.size or 0), groups) for line in lines],
    }


class _Line:
    def __init__(
        self,
        method: str,
        size: int | None,
        cells: Sequence[AnyCell],
        results: Mapping[AnyCell, Result],
        failures: Mapping[AnyCell, str],
    ) -> None:
        self.method, self.size = method, size
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

    def entry(self, zero: _Line, full: _Line, best: _Line | None, groups: Tensor) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": self.method if self.size is None else f"{self.method}@{self.size}",
            "method": self.method,
            "label": self.label,
            "kind": "method" if self.is_method else "reference",
            "size": self.size,
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
            gain = gain_retained(zero.hits[0], full.hits, self.hits, groups)
            found["gain_retained"] = named_intervals(gain)
        if self.is_method and best is not None and best is not self:
            found["difference_to_best"] = named_intervals(paired_difference(self.hits, best.hits, groups))
        stages = {stage for meta in metas for stage in meta["seconds"]}
        found["seconds"] = {stage: fmean(meta["seconds"].get(stage, 0.0) for meta in metas) for stage in sorted(stages)}
        found["bytes"] = metas[0]["bytes"]
        peaks = [meta["peak_bytes"] for meta in metas if meta["peak_bytes"] is not None]
        found["peak_bytes"] = max(peaks) if peaks else None
        found["choices"] = max(meta["judged"] for meta in metas)
        return found


def _best(lines: Sequence[_Line], size: int) -> _Line | None:
    methods = [line for line in lines if line.is_method and line.size == size and line.ranks]
    return max(methods, key=lambda line: line.score) if methods else None


def _protocol(comparison: ComparisonConfig, lines: Sequence[_Line]) -> list[str]:
    judged = [result.meta["judged"] for line in lines if line.is_method for result in line.results]
    budget = f"from {min(judged)} to {max(judged)}" if judged else "no"
    sets = f"{len(comparison.seeds)} set{'s' if len(comparison.seeds) > 1 else ''}"
    made = f"{sets} of a size, one a seed, {comparison.num_students} students a set"
    return [
        f"Every method: {made}, all from the same heads; every reference has as many runs as a set has students.",
        f"Choices (iteration, step size, steps) were made on validation, {budget} students compared for a set.",
        "The test split was scored after all choices, once.",
        "Intervals are 95 % paired bootstraps over groups of queries and runs.",
        "Gain retained is (line - zero-shot) / (all rows by InfoNCE - zero-shot).",
        "Seconds are those of one set, its experts counted in full though methods share them.",
    ]
