"""The numbers that the HoPA paper prints, read from `printed/hopa.toml`, and the gain retained computed from them.

    gain retained = (recall - zero) / (full - zero)

All terms are printed recalls on the same dataset: `recall` is the recall of a method, `full` is the recall after
training on all rows, and `zero` is the recall of the initial heads. The paper prints the recall of the initial heads
only for VGGSound-S (table 4). For the other datasets, `zero` is the recall after training on 100 random rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from omnidistill.evaluation.run_scores import Level
from omnidistill.experiments.config.benchmark_layouts import BENCHMARKS
from omnidistill.experiments.config.toml_files import packaged_files, read_toml
from omnidistill.io.artifacts import JsonContent

Percentages = Mapping[Level, float]
"""Percentages by recall level."""


class PrintedNumber(JsonContent):
    """The numbers that the HoPA paper prints in one row of a table.

    Attributes:
        table: number of the table.
        row: name of the row.
        benchmark: name of the dataset; None if it is not known.
        size: number N of synthetic or random rows; None if it is not known or does not affect the printed numbers.
        recall: mean recall over directions, in %.
        directions: recall by direction, in %.
        seconds: seconds per outer iteration.
    """

    remedy: ClassVar[str] = "install the package again"

    table: str
    row: str
    benchmark: str | None = None
    size: int | None = None
    recall: Mapping[Level, float] = {}
    directions: Mapping[str, Mapping[Level, float]] = {}
    seconds: float | None = None


@cache
def printed_numbers() -> tuple[PrintedNumber, ...]:
    """Return all stored rows of the tables in the HoPA paper."""
    where = "printed/hopa.toml"
    tree: dict[str, Any] = read_toml(packaged_files("printed")["hopa"], where)
    return tuple(PrintedNumber.from_json(each, where) for each in tree["number"])


def printed(table: str, benchmark: str, row: str, size: int | None) -> PrintedNumber | None:
    """Return the numbers that the HoPA paper prints in a row of a table; None if it prints none."""
    for each in printed_numbers():
        if (each.table, each.row) == (table, row) and each.benchmark in (benchmark, None) and each.size in (size, None):
            return each
    return None


def printed_gain(recall: Percentages, benchmark: str) -> dict[Level, float]:
    """Return {recall level: gain retained}, computed from the recall that the HoPA paper prints.

    Args:
        recall: printed recall of a row, in %.
        benchmark: name of the dataset.

    Returns:
        The gain as a fraction, for each level for which the paper prints the recalls `zero` and `full`. The module
        docstring defines both.
    """
    zero, full = printed_references(benchmark)
    levels = [level for level in recall if level in zero and level in full]
    return {level: (recall[level] - zero[level]) / (full[level] - zero[level]) for level in levels}


def printed_references(benchmark: str) -> tuple[Percentages, Percentages]:
    """Return two recalls from the HoPA paper, which are needed to compute the gain retained on a dataset.

    The first is the recall of the initial heads. If the paper does not print it, the recall after training on random
    rows takes its place. The second is the recall after training on all rows.
    """
    named = {each.row: each.recall for each in printed_numbers() if each.benchmark == benchmark}
    return named.get("zero-shot", named["random"]), named["full"]


def reference_note(benchmark: str) -> str:
    """Return a sentence that states the recalls `zero` and `full` of the HoPA paper on a dataset.

    The module docstring defines both.
    """
    title = BENCHMARKS[benchmark].title
    rows = {each.row: each for each in printed_numbers() if each.benchmark == benchmark}
    zero = rows.get("zero-shot", rows["random"])
    what = "initial heads" if zero.row == "zero-shot" else f"{zero.size} random rows"
    first, last = (" / ".join(f"{k} {value}" for k, value in row.recall.items()) for row in (zero, rows["full"]))
    return (
        f"{title}: the zero point of the paper's gain is its {what} ({first}, table {zero.table}), and training on all "
        f"rows is {last} (table {rows['full'].table})."
    )
