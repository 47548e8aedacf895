"""What a page is told of a run, and what it calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omnidistill.report.cases import Cases
from omnidistill.report.instances import Instance
from omnidistill.report.items import Items, NamedItems
from omnidistill.report.similarity_view import SimilarityView


@dataclass(frozen=True)
class RunView:
    """What the page shows of a run.

    scores: the content of scores.json, or what is known of a run that was not scored (no field "lines"). metrics: the
    records of metrics.jsonl. facts: further facts by heading, nested. commands: what makes the run again.
    """

    scores: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]] = ()
    instances: Sequence[Instance] = ()
    items: Items = field(default_factory=NamedItems)
    similarities: Sequence[SimilarityView] = ()
    cases: Cases | None = None
    name: str = ""
    commands: Sequence[str] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether there are scores."""
        return "lines" in self.scores


def run_labels(runs: Sequence[RunView]) -> list[str]:
    """What each run is called: its line, with the folder where two are alike."""
    found = [_label(run.scores) for run in runs]
    counts = Counter(found)
    named = [
        f"{label} ({run.name or number})" if counts[label] > 1 else label
        for number, (label, run) in enumerate(zip(found, runs, strict=True), start=1)
    ]
    return [f"{label} [{number}]" if named.count(label) > 1 else label for number, label in enumerate(named, start=1)]


def _label(scores: Mapping[str, Any]) -> str:
    label = (scores.get("distilled") or {}).get("label")
    size = f", {scores['size']} rows" if "size" in scores else ""
    return str(label or f"{scores.get('method') or 'distilled'}{size}")
