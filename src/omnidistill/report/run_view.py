"""Input of the page for one run, and the labels of runs on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omnidistill.core.json_value import Json
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.cases import Cases
from omnidistill.report.instances import Instance
from omnidistill.report.items import Items, NamedItems
from omnidistill.report.related import RelatedResult
from omnidistill.report.similarity_view import SimilarityView
from omnidistill.report.theory_summary import Finding


@dataclass(frozen=True)
class RunView:
    """Content of the page for one run.

    Attributes:
        scores: scores and facts of the run. The scores have no rows if the run has not been evaluated.
        metrics: records from metrics.jsonl.
        instances: descriptions of the synthetic rows, each with the real items nearest to the row.
        items: captions, pictures and sounds of real items.
        similarities: a summary of the similarity matrix of each set.
        cases: results of individual test queries, before and after training on the set.
        name: name of the run folder.
        commands: commands that reproduce the run.
        facts: further facts as {heading: {name: JSON value}}. They are shown before the facts from `scores`.
        iteration: outer iteration at which the run obtained its final set; None if it is unknown, or if there is one
            set per modality pair.
        theory: findings of `diagnose`, if the run has been diagnosed.
        related: results of other commands, to which the page links.
    """

    scores: RunScores
    metrics: Sequence[MetricsRecord] = ()
    instances: Sequence[Instance] = ()
    items: Items = field(default_factory=NamedItems)
    similarities: Sequence[SimilarityView] = ()
    cases: Cases | None = None
    name: str = ""
    commands: Sequence[str] = ()
    facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    iteration: int | None = None
    theory: Sequence[Finding] = ()
    related: Sequence[RelatedResult] = ()

    @property
    def scored(self) -> bool:
        """Whether the run has been evaluated."""
        return self.scores.scored


def run_labels(runs: Sequence[RunView]) -> list[str]:
    """Return a unique label for each run: the label of its set, plus the name of the run folder if labels are equal."""
    labels = [_label(run.scores) for run in runs]
    counts = Counter(labels)
    named = [
        f"{label} ({run.name or number})" if counts[label] > 1 else label
        for number, (label, run) in enumerate(zip(labels, runs, strict=True), start=1)
    ]
    return [f"{label} [{number}]" if named.count(label) > 1 else label for number, label in enumerate(named, start=1)]


def _label(scores: RunScores) -> str:
    label = scores.distilled.label if scores.scored else ""
    return label or f"{scores.method or 'distilled'}, {scores.size} rows"
