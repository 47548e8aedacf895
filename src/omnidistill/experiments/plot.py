"""Figures of stored or returned results: read the sources, draw, and write the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnidistill.core.errors import InputError
from omnidistill.core.optional import require
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.experiments.migration.kit import KIND as MIGRATION_KIT
from omnidistill.experiments.migration.migration_result import report_file
from omnidistill.experiments.run import open_run, runs_unchanged
from omnidistill.experiments.run_page import SCORES
from omnidistill.io.artifacts import require_new, write_output
from omnidistill.io.input_files import read_json
from omnidistill.plotting import COLUMN_WIDTH, MEASURES, Plottable, PlottedRun, Source, draw
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.crossed_content import CrossedContent
from omnidistill.report.migration_content import MigrationContent
from omnidistill.report.paper_content import PaperContent
from omnidistill.report.transfer_content import TransferContent

if TYPE_CHECKING:
    from omnidistill.plotting.paper_figure import PaperFigure

SUFFIXES = (".svg", ".pdf", ".png")


def plot(
    sources: Path | str | Plottable | Sequence[Path | str | Plottable],
    output: str | Path | None = None,
    *,
    kind: str | None = None,
    width: float = COLUMN_WIDTH,
    level: str | None = None,
    measure: str = MEASURES[0],
    table: str | int | None = None,
    force: bool = False,
) -> PaperFigure:
    """Draw a figure for a paper from stored or returned results, and write it to a file if `output` is given.

        kind            sources                                        shows
        "gain"          comparison with several sizes or budgets       gain retained against bytes
        "curves"        runs                                           losses and validation scores by iteration
        "intervals"     comparison, transfer table or evaluated runs   gain of every row with its 95 % interval
        "heat-map"      crossed table                                  cells of the table
        "heat-map"      comparison, migration report, evaluated runs   recall by direction
        "similarity"    run                                            learned similarity of the rows of the set
        "reproduction"  tables of `paper`                              our recall next to that of the HoPA paper

    Args:
        sources: one or several results, or their paths: the output folder of a command, or the .json file of a table.
            Several sources must all be runs of `distill`.
        output: file to write; its suffix (.svg, .pdf or .png) selects the format. None writes nothing.
        kind: kind of the figure; None uses the first one in the table above that fits the sources.
        width: width in inches. The default is the width of a column in a two-column paper.
        level: recall level, such as "R@5". None uses the first level in the results for heat maps, transfer tables and
            tables of `paper`. For other figures, it uses the second level, or the first if there is only one.
        measure: what the heat map of a crossed table shows: "gain_retained", "recall" or "improvement".
        table: for a result of `paper`, which table of the HoPA paper to draw: its number, such as 5, or "figure-2".
            None draws all of them.
        force: whether to replace an existing file.

    Returns:
        A matplotlib Figure. Notebooks show it.

    Raises:
        InputError: matplotlib is not installed, a source cannot be read or does not fit the kind, or the output exists
            and `force` is False.
    """
    given = [sources] if isinstance(sources, Path | str | Plottable) else list(sources)
    if not given:
        raise InputError("sources: the list is empty; pass at least one result or path")
    require("matplotlib", "plot")
    if output is not None:
        output = Path(output)
        if output.suffix.lower() not in SUFFIXES:
            raise InputError(f"{output}: unknown format; use one of the suffixes {', '.join(SUFFIXES)}")
        require_new(output, force)
    read = [each.plot_source if isinstance(each, Plottable) else read_source(Path(each)) for each in given]
    figure = draw(_with_unique_labels(read), kind, width=width, level=level, measure=measure, table=table)
    if output is not None:
        write_output(output, figure.encoded(output.suffix.lower().removeprefix(".")), force)
    return figure


def read_source(path: Path) -> Source:
    """Read the source of a figure: a run folder, the folder or .json file of a table, or a migration kit.

    Raises:
        InputError: the path does not exist, contains several tables or none, or is damaged.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not path.is_dir():
        return _table(path)
    if (path / "run.json").exists():
        return _run(path)
    manifest = path / "manifest.json"
    if manifest.exists() and read_json(manifest).get("kind") == MIGRATION_KIT:
        if not (report := report_file(path, ".json")).exists():
            raise InputError(f"{path}: the report of this migration kit ({report}) is missing; restore it from a copy")
        return _table(report)
    tables = [file for file in sorted(path.glob("*.json")) if _reader(read_json(file)) is not None]
    if len(tables) > 1:
        listed = ", ".join(file.name for file in tables)
        raise InputError(f"{path}: contains {len(tables)} tables ({listed}); pass the path of one of these files")
    if not tables:
        raise InputError(
            f"{path}: contains nothing that can be plotted; pass the folder of a finished run, a comparison, a crossed "
            "table, a transfer table or a migration kit, or the output folder of the command 'paper'"
        )
    return _table(tables[0])


def _table(path: Path) -> Source:
    tree = read_json(path)
    reader = _reader(tree)
    if reader is None:
        raise InputError(
            f"{path}: not a table that can be plotted; pass the .json file that compare, transfer, migrate, paper or "
            "evaluate wrote"
        )
    return reader(tree, path)


def _reader(tree: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Path], Source] | None:
    """Return the function that reads the content of a .json file; None if the content is not a table.

    Each kind of table has a field that no other kind has.
    """
    return next((reader for field, reader in _READERS.items() if field in tree), None)


def _scores(tree: Mapping[str, Any], path: Path) -> PlottedRun:
    return PlottedRun(path.resolve().parent.name, (), RunScores.from_json(tree, str(path)))


_READERS: dict[str, Callable[[Mapping[str, Any], Path], Source]] = {
    "layout": lambda tree, path: Comparison.from_json(tree, str(path)),
    "cells": lambda tree, path: CrossedContent.from_json(tree, str(path)),
    "targets": lambda tree, path: TransferContent.from_json(tree, str(path)),
    "training_bytes": lambda tree, path: MigrationContent.from_json(tree, str(path)),
    "sections": lambda tree, path: PaperContent.from_json(tree, str(path)),
    "matching_loss": _scores,
}
"""{field that identifies the content: function that reads it}."""


def _run(folder: Path) -> PlottedRun:
    with runs_unchanged([folder]):
        parts, path = open_run(folder).distillations(), folder / SCORES
        scores = RunScores.from_file(path) if path.exists() else None
    return PlottedRun(folder.resolve().name, parts, scores)


def _with_unique_labels(sources: Sequence[Source]) -> list[Source]:
    """Append numbers to the labels of runs that have the same label."""
    labels = Counter(source.label for source in sources if isinstance(source, PlottedRun))
    return [
        replace(source, label=f"{source.label} [{number}]")
        if isinstance(source, PlottedRun) and labels[source.label] > 1
        else source
        for number, source in enumerate(sources, start=1)
    ]
