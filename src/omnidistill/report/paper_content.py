"""The content of the tables of the HoPA paper: our recall, gain retained and costs, and those that the paper prints.

All recalls and gains are fractions. A value that the paper does not print, or that is not known, is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from omnidistill.evaluation.run_scores import Level
from omnidistill.io.artifacts import JsonContent
from omnidistill.report.comparison_content import ComparisonData


class PaperNumbers(JsonContent):
    """The numbers of a table row, either our own or those that the HoPA paper prints.

    Attributes:
        recall: mean recall over directions.
        gain: gain retained.
        directions: recall by direction ("query->gallery").
        seconds: seconds per outer iteration.
    """

    recall: Mapping[Level, float] = {}
    gain: Mapping[Level, float] = {}
    directions: Mapping[str, Mapping[Level, float]] = {}
    seconds: float | None = None


class PaperRow(JsonContent):
    """A row of a table: a method or baseline at one size. The size is None if a baseline does not depend on it."""

    label: str
    size: int | None
    is_method: bool
    ours: PaperNumbers
    printed: PaperNumbers
    error: str | None = None


class PaperSection(JsonContent):
    """A section of the report page: one table of the HoPA paper, computed on one dataset.

    Attributes:
        number: number of the table, or "figure-2".
        benchmark: short name of the dataset, such as "msrvtt".
        title: title with the dataset, such as "Table 5 on MSR-VTT: pairs, anchors and the proxy".
        comparison: path of the comparison's files without suffix, relative to the folder of the page.
        data: the dataset.
        levels: recall levels, as in the paper.
        directions: all retrieval directions ("query->gallery").
        rows: the rows of the table, with our numbers and those that the paper prints.
        notes: sentences about how the numbers were obtained.
    """

    number: str
    benchmark: str
    title: str
    comparison: str
    data: ComparisonData
    levels: Sequence[Level]
    directions: Sequence[str]
    rows: Sequence[PaperRow]
    notes: Sequence[str] = ()


class PaperContent(JsonContent):
    """The content of the report page of the command `paper`: tables of the HoPA paper, computed on the user's features.

    Attributes:
        command: the command that computed the tables.
        versions: versions of the packages that were used.
        sections: the finished tables.
        notes: sentences about the printed numbers.
    """

    remedy: ClassVar[str] = "run the tables again in another folder"
    layout_version: ClassVar[int | None] = 1

    command: str = ""
    versions: Mapping[str, str] = {}
    sections: Sequence[PaperSection] = ()
    notes: Sequence[str] = ()
