"""Turn the computed results into the content of a crossed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnidistill.data.featureset import FeatureSet
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.evaluation.scores import Scoring
from omnidistill.experiments.comparison.summary import data_facts
from omnidistill.experiments.crossed.crossed_plan import PlannedCell, Work, reference_works
from omnidistill.experiments.crossed.crossed_settings import NAME, CrossedSettings
from omnidistill.experiments.crossed.results import WorkResult
from omnidistill.experiments.run.run_identity import versions
from omnidistill.report.crossed_content import CrossedCell, CrossedContent, CrossedReference, CrossedSet, Values


def summarise(
    settings: CrossedSettings,
    cells: Sequence[PlannedCell],
    results: Mapping[Work, WorkResult],
    failures: Mapping[Work, str],
    data: FeatureSet,
    heads: str,
    name: str = NAME,
    command: str = "",
) -> CrossedContent:
    """Return the content of a crossed table.

    A work item is one result that is computed for the table: a distilled set, or the recall of a model.

    Args:
        settings: settings of the table.
        cells: all cells of the table.
        results: {work item: result} for all work items that did not fail.
        failures: {work item: error message} for all work items that failed.
        data: the data from which the results were computed.
        heads: fingerprint of the pre-trained heads.
        name: name of the table, used in file names.
        command: the command that computed the table.
    """
    scoring = Scoring.of(data.split("test"), EvaluateConfig(gallery=settings.evaluate.gallery))
    levels = scoring.levels

    def recall(work: Work) -> Values | None:
        result = results.get(work)
        values = None if result is None else result.recall
        return None if values is None else {level: values[level] for level in levels}

    def cell_of(cell: PlannedCell) -> CrossedCell:
        values, result = recall(cell.work), results.get(cell.work)
        zero, full = map(recall, reference_works(cell.model, settings.heads.width))
        return CrossedCell(
            part=cell.part,
            set=cell.source,
            recipe=cell.recipe,
            column=cell.column,
            model=cell.model.name,
            recall=values,
            improvement=_difference(values, None if cell.control is None else recall(cell.control)),
            gain_retained=_gain(values, zero, full),
            any_start=cell.work.model.kind == "any",
            seconds=None if result is None else result.seconds,
            settings={} if result is None else result.settings,
            error=None if result is not None else failures.get(cell.work, "not computed"),
        )

    def set_of(name: str) -> CrossedSet:
        result = results.get(Work(name, "set", cells[0].work.set_work.model))
        facts = {} if result is None else result.settings
        return CrossedSet(
            name=name, rows=facts.get("rows"), bytes=facts.get("bytes"), seconds=result.seconds if result else None
        )

    models = list(dict.fromkeys(cell.model for cell in cells))
    distilled = {entry.name for entry in settings.sets}
    references = []
    for model in models:
        zero, full = map(recall, reference_works(model, settings.heads.width))
        references.append(CrossedReference(model=model.name, zero=zero, full=full))
    return CrossedContent(
        name=name,
        command=command,
        versions=versions(),
        heads=heads,
        data=data_facts(data),
        seed=settings.seed,
        levels=levels,
        sets=[set_of(name) for name in dict.fromkeys(c.source for c in cells if c.source in distilled)],
        references=references,
        cells=[cell_of(cell) for cell in cells],
        protocol=[*_protocol(settings), *scoring.facts(settings.evaluate.gallery)],
    )


def _difference(values: Values | None, others: Values | None) -> Values | None:
    if values is None or others is None:
        return None
    return {level: _minus(value, others[level]) for level, value in values.items()}


def _gain(values: Values | None, zero: Values | None, full: Values | None) -> Values | None:
    """Return (values - zero) / (full - zero) for each "R@K"; None for each "R@K" where `full` <= `zero`."""
    if values is None or zero is None or full is None:
        return None
    gains = {level: (_minus(value, zero[level]), _minus(full[level], zero[level])) for level, value in values.items()}
    return {
        level: gain / whole if gain is not None and whole and whole > 0 else None
        for level, (gain, whole) in gains.items()
    }


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _protocol(settings: CrossedSettings) -> list[str]:
    return [line.replace("SEED", str(settings.seed)) for line in _PROTOCOL.strip().split("\n")]


_PROTOCOL = """
One set and one student per cell, seed SEED, without intervals: a difference below one point of R@1 may be noise.
All choices were made on validation; the test split was scored once per result, after all choices.
Improvement is the difference to random rows of the same size, under the same recipe and model.
For the own recipe of a set with anchors, random rows are trained by the recipe anchor (networks: map).
Gain retained is (row - zero) / (full - zero): full is the same model trained on all rows by InfoNCE.
Zero is the pre-trained heads, cut to the width by their canonical directions, and for networks their random weights.
The recipe own is that of the set; sgd is InfoNCE with step size and number of steps chosen on validation.
The recipe anchor is ridge regression to anchors, with the ridge chosen on validation; it has only linear heads.
The recipe stacked is anchor, stacked on pre-trained heads and cut to their width; ridge and weight are chosen.
The recipe map is regression of networks to the heads of anchor; own of a set with anchors is map with its ridges.
Rows named after baselines are heads of the same bytes, which networks learn by the same regression on noise alone.
= marks recipes that need no start: all starts of a width share one result.
"""
