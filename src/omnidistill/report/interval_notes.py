"""Sentences about the variation (between queries, sets or runs) that the confidence intervals of a table cover."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omnidistill.evaluation.intervals import Coverage
from omnidistill.evaluation.run_scores import RunScores

LabelledCoverage = tuple[str, Coverage]
"""The label of a row, and the variation that its intervals cover."""


def coverage_notes(methods: Iterable[LabelledCoverage], baselines: Iterable[LabelledCoverage]) -> list[str]:
    """Return sentences that state which variation the confidence intervals include: between queries, sets or runs.

    Args:
        methods: label of each method, and the variation that its intervals include.
        baselines: label of each baseline, and the variation that its intervals include.
    """
    notes = []
    of_methods, of_baselines = _by_coverage(methods), _by_coverage(baselines)
    if of_methods:
        notes.append(f"Intervals of methods cover {_listed(of_methods, 'set')}.")
        if any(coverage.number == 1 for coverage in of_methods):
            notes[-1] += " An interval of one set does not cover how much sets of other seeds differ."
    if of_baselines:
        notes.append(f"Intervals of baselines cover {_listed(of_baselines, 'run')}.")
    return notes


def coverages(scores: RunScores) -> tuple[list[LabelledCoverage], list[LabelledCoverage]]:
    """Return two lists of pairs (label, coverage): one for the distilled sets, and one for the baselines.

    Coverage is the variation (between queries, sets or runs) that confidence intervals include. Rows without a
    recorded coverage are omitted, and so is the row "zero_shot" (the initial heads).
    """
    sets: list[LabelledCoverage] = []
    baselines: list[LabelledCoverage] = []
    for name, row in scores.rows.items():
        if row.coverage is not None and name != "zero_shot":
            (sets if name.startswith("distilled") else baselines).append((row.label, row.coverage))
    return sets, baselines


def covered(scores: RunScores) -> str:
    """Return which variation the confidence intervals of distilled sets include, such as "queries only (one set)".

    Return "" if this is not recorded.
    """
    sets = _by_coverage(coverages(scores)[0])
    return _listed(sets, "set") if sets else ""


def _by_coverage(rows: Iterable[LabelledCoverage]) -> dict[Coverage, list[str]]:
    labels: dict[Coverage, list[str]] = {}
    for label, coverage in rows:
        labels.setdefault(coverage, []).append(label)
    return dict(sorted(labels.items(), key=lambda item: -len(item[1])))


def _listed(labels: dict[Coverage, list[str]], unit: str) -> str:
    """Return a text such as "queries and sets (3 sets); anchor: queries only (one set)".

    It states which variation the intervals include: first for the most common case, without labels, and then for each
    exception, after the labels of its rows.

    Args:
        labels: {variation: labels of the rows whose intervals include it}. The most common case comes first.
        unit: what the scores of a row are averaged over, "set" or "run".
    """
    (usual, _), *others = labels.items()
    return "; ".join([_described(usual, unit), *(f"{_named(of)}: {_described(each, unit)}" for each, of in others)])


def _described(coverage: Coverage, unit: str) -> str:
    number = f"one {unit}" if coverage.number == 1 else f"{coverage.number} {unit}s"
    return f"{coverage.variation} ({number})"


def _named(labels: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(labels))
