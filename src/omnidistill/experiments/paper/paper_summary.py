"""Turn comparisons into the tables of the HoPA paper, with our numbers next to those that the paper prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.evaluation.run_scores import MEAN
from omnidistill.experiments.comparison.plan import Cell
from omnidistill.experiments.config.benchmark_layouts import BENCHMARKS
from omnidistill.experiments.paper.paper_tables import TABLES, PlannedTable
from omnidistill.experiments.paper.printed_numbers import PrintedNumber, printed, printed_gain, reference_note
from omnidistill.experiments.run import versions
from omnidistill.report.comparison_content import Comparison, ComparisonRow
from omnidistill.report.paper_content import PaperContent, PaperNumbers, PaperRow, PaperSection

LEVELS = ("R@1", "R@5")
"""Recall levels that the paper prints."""
_NO_NUMBERS = PaperNumbers()
_NOTES = {
    "6": "The formula of the second mode is our reading; the paper prints none.",
    "7": "Seconds are those of distillation, validation and restarts included, per outer iteration; with one set per "
    "pair of modalities, those of all pairs together. The paper prints 87.48 with the SVD and 53.28 without it, on an "
    "A100, which we read as seconds per 100 iterations; it is not known for which of the two controls, N and dataset.",
    "figure-2": "What figure 2 of the paper shows is our reading, and the points of the paper are those of its tables "
    "1 to 3.",
}
_GAIN_NOTE = (
    "Gain retained is (row - zero) / (all rows - zero). Ours is relative to the initial heads and InfoNCE on all rows; "
    "that of the paper is computed from its rounded numbers."
)


def section_of(planned: PlannedTable, comparison: Comparison, cells: Sequence[Cell], data: FeatureSet) -> PaperSection:
    """Return a table of the HoPA paper, with our numbers next to those that the paper prints.

    Args:
        planned: the table and the dataset.
        comparison: the finished comparison.
        cells: the runs of the comparison, one per method, size and seed. Their settings contain the number of
            iterations, which is needed to compute the seconds per iteration.
        data: the dataset.
    """
    iterations = {
        (cell.method, cell.size): cell.config.distill.iterations
        for cell in cells
        if isinstance(cell.config.distill, LoopSettings)
    }
    present = {level for row in comparison.rows if row.recall is not None for level in row.recall[MEAN]}
    number, families = planned.table.number, comparison.families()
    notes = [_NOTES[number]] if number in _NOTES else []
    if data.preprocessing.means:
        notes.append("The features are centred; those of the paper are not (encode or pack with --no-centre).")
    return PaperSection(
        number=number,
        benchmark=planned.benchmark.name,
        title=f"{planned.title[0].upper()}{planned.title[1:]}: {planned.table.title}",
        comparison=f"{planned.benchmark.name}/{planned.table.preset}",
        data=comparison.data,
        levels=[level for level in LEVELS if level in present] or list(LEVELS),
        directions=_directions(comparison),
        rows=[
            _row(planned, row, families[row.method], iterations.get((row.method, row.size or 0)))
            for row in comparison.rows
        ],
        notes=[*notes, *comparison.protocol[:2]],
    )


def content_of(sections: Iterable[PaperSection], command: str) -> PaperContent:
    """Return the content of the page of the command `paper`, with the tables in the order of the HoPA paper."""
    numbers, names = list(TABLES), list(BENCHMARKS)
    ordered = sorted(sections, key=lambda each: (numbers.index(each.number), names.index(each.benchmark)))
    used = [name for name in names if any(section.benchmark == name for section in ordered)]
    notes = [_GAIN_NOTE, *map(reference_note, used)] if used else []
    return PaperContent(command=command, versions=versions(), sections=ordered, notes=notes)


def _row(planned: PlannedTable, row: ComparisonRow, label: str, iterations: int | None) -> PaperRow:
    name = row.label if row.is_method else row.method
    benchmark, table = planned.benchmark.name, planned.table.number
    number = printed(table, benchmark, name, row.size)
    if number is None and table == "figure-2":
        number = printed(_main_table(benchmark), benchmark, name, row.size)
    return PaperRow(
        label=label,
        size=row.size,
        is_method=row.is_method,
        ours=_ours(row, iterations),
        printed=_NO_NUMBERS if number is None else _as_fractions(number, benchmark),
        error="; ".join(f"seed {failure.seed}: {failure.error}" for failure in row.failures) or None,
    )


def _main_table(benchmark: str) -> str:
    """Return the number of the table in the HoPA paper that compares methods on this dataset, such as "1" for MSR-VTT.

    Args:
        benchmark: short name of the dataset, such as "msrvtt".
    """
    return next(table.number for table in TABLES.values() if table.benchmark == benchmark)


def _ours(row: ComparisonRow, iterations: int | None) -> PaperNumbers:
    if row.recall is None:
        return _NO_NUMBERS
    values = {name: {k: each.mean for k, each in levels.items()} for name, levels in row.recall.items()}
    gains = {level: gain.mean for level in LEVELS if (gain := row.gain(level)) is not None}
    seconds = row.stage_seconds.distill
    return PaperNumbers(
        recall=values.pop(MEAN),
        gain=gains,
        directions=values,
        seconds=None if seconds is None or not iterations else seconds / iterations,
    )


def _as_fractions(number: PrintedNumber, benchmark: str) -> PaperNumbers:
    return PaperNumbers(
        recall=_fractions(number.recall),
        gain=printed_gain(number.recall, benchmark),
        directions={name: _fractions(values) for name, values in number.directions.items()},
        seconds=number.seconds,
    )


def _fractions(percentages: Mapping[str, float]) -> dict[str, float]:
    return {level: round(value / 100, 6) for level, value in percentages.items()}


def _directions(comparison: Comparison) -> list[str]:
    recalls = [row.recall for row in comparison.rows if row.recall is not None]
    return [name for name in recalls[0] if name != MEAN] if recalls else []
