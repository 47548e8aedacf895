"""The tables of the HoPA paper: which comparison computes each table, and on which datasets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, nearest
from omnidistill.experiments.config.benchmark_layouts import BENCHMARKS, BenchmarkLayout


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of the HoPA paper.

    Attributes:
        number: number of the table in the paper; "figure-2" for the figure.
        title: what it shows.
        benchmark: name of its dataset; None if the table is computed on every given dataset.
    """

    number: str
    title: str
    benchmark: str | None = None

    @property
    def preset(self) -> str:
        """Name of the comparison preset for this table, such as "paper-table-5"."""
        return f"paper-{self.number}" if self.number.startswith("figure") else f"paper-table-{self.number}"

    @property
    def name(self) -> str:
        """Name in titles and messages, such as "table 5"."""
        return self.number.replace("-", " ") if self.number.startswith("figure") else f"table {self.number}"


TABLES = {
    table.number: table
    for table in (
        PaperTable("1", "methods on pairs, and HoPA", "msrvtt"),
        PaperTable("2", "methods on pairs, and HoPA", "vggsound"),
        PaperTable("3", "methods on pairs, and HoPA", "didemo"),
        PaperTable("5", "pairs, anchors and the proxy"),
        PaperTable("6", "modes of the proxy"),
        PaperTable("7", "cost of the SVD"),
        PaperTable("10", "ablation of the objective"),
        PaperTable("figure-2", "recall against N"),
    )
}
"""Tables by number, in the order in which they run."""

_NO_TABLE = {
    "4": "table 4 (other encoders) is computed by 'omnidistill transfer RUN --to SET2 --preset paper-table-4'",
    **dict.fromkeys(("8", "9"), "tables 8 and 9 list settings, which are the presets paper/hopa-*"),
}


@dataclass(frozen=True)
class PlannedTable:
    """A table to compute on one dataset."""

    table: PaperTable
    benchmark: BenchmarkLayout

    @property
    def title(self) -> str:
        """Title of the table, such as "table 5 on MSR-VTT"."""
        return f"{self.table.name} on {self.benchmark.title}"


def plan_tables(requested: Sequence[str] | None, given: Collection[str]) -> list[PlannedTable]:
    """Return the tables of the HoPA paper to compute, in the order of the paper. Each entry is a table on one dataset.

    Args:
        requested: numbers of tables; None requests all tables of the given datasets.
        given: names of the datasets whose features are given.

    Raises:
        InputError: no dataset is given, a table is unknown or is not available, or its dataset is not given.
    """
    options = [argument(name, "SET") for name in BENCHMARKS]
    if not given:
        raise InputError(f"no features; pass those of at least one dataset: {', '.join(options)}")
    for number in requested or ():
        _require_table(number, given)
    numbers = [number for number in TABLES if requested is None or number in requested]
    planned = [
        PlannedTable(TABLES[number], layout)
        for number in numbers
        for name, layout in BENCHMARKS.items()
        if name in given and TABLES[number].benchmark in (name, None)
    ]
    if not planned:
        raise InputError(f"{argument('tables')}: no table requested; choose from {', '.join(TABLES)}")
    return planned


def _require_table(number: str, given: Collection[str]) -> None:
    where = argument("tables")
    if number in _NO_TABLE:
        raise InputError(f"{where}: {_NO_TABLE[number]}; choose from {', '.join(TABLES)}")
    if number not in TABLES:
        raise InputError(f"{where}: unknown table '{number}'; choose from {', '.join(TABLES)}{nearest(number, TABLES)}")
    needed = TABLES[number].benchmark
    if needed is not None and needed not in given:
        raise InputError(
            f"{where}: table {number} needs the features of {BENCHMARKS[needed].title}; pass "
            f"{argument(needed, 'SET')}, or omit the table"
        )
