"""The tables of the HoPA paper as text, with our numbers next to the printed ones, for Markdown and for the page.

Every section (one table on one dataset) shows mean recall and gain retained. Tables 1 to 3 also have recall by
direction, and table 7 has seconds per outer iteration. A dash stands for a number that the paper does not print, or
that is not known. If one of our numbers is undefined, "n/a" is shown. For example, gain retained is undefined where
training on all rows improves recall by no more than noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from omnidistill.report.curves import Point, line_chart
from omnidistill.report.paper_content import PaperContent, PaperNumbers, PaperRow, PaperSection
from omnidistill.report.run_table import ABSENT, arrow, percent

OURS, PRINTED = "ours", "paper"
FAILED, UNDEFINED = "failed", "n/a"
_WITH_DIRECTIONS = ("1", "2", "3")
_WITH_SECONDS = ("7",)
_WITH_CHART = ("figure-2",)


@dataclass(frozen=True)
class PaperView:
    """A table whose cells are text.

    Attributes:
        title: title of the table.
        groups: the column groups; each has a column with our numbers and one with the printed ones.
        rows: (label, whether the row is a method, cells) of every row.
    """

    title: str
    groups: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[str, ...]], ...]


def paper_views(section: PaperSection) -> Iterator[PaperView]:
    """Yield the text tables of a section, which is one table of the HoPA paper on one dataset."""
    groups = [*(f"{k} %" for k in section.levels), *(f"gain {k} %" for k in section.levels)]
    readers: list[_Reader] = [*(_recall(k) for k in section.levels), *(_gain(k) for k in section.levels)]
    if section.number in _WITH_SECONDS:
        groups, readers = [*groups, "seconds per iteration"], [*readers, _seconds]
    yield _view(section, "Mean recall over directions, and gain retained", groups, readers)
    if section.number in _WITH_DIRECTIONS:
        for k in section.levels:
            by_direction = [_direction(name, k) for name in section.directions]
            yield _view(section, f"{k} by direction, in %", [arrow(name) for name in section.directions], by_direction)


def paper_chart(section: PaperSection) -> str | None:
    """Return a chart of recall against the number N of synthetic rows, as SVG, for one table of the HoPA paper.

    Each method has one curve with our values and one with the values printed in the paper. The chart shows the first
    recall level of the table. Return None if the table has no chart, or if there is nothing to draw.
    """
    if section.number not in _WITH_CHART:
        return None
    level, curves = section.levels[0], dict[str, list[Point]]()
    for row in section.rows:
        for name, numbers in ((row.label, row.ours), (f"{row.label}, {PRINTED}", row.printed)):
            if row.is_method and row.size is not None and level in numbers.recall:
                curves.setdefault(name, []).append((float(row.size), 100 * numbers.recall[level]))
    if not curves:
        return None
    return line_chart(
        {name: sorted(points) for name, points in curves.items()},
        title=f"{section.title}: mean {level} against N",
        x_label="number of synthetic rows N",
        y_label=f"mean {level}, %",
    )


def section_notes(section: PaperSection) -> list[str]:
    """Return the sentences below a section: data rows per split, the protocol, and the errors of failed table rows."""
    data = section.data
    facts = f"{data.name}: {', '.join(f'{count:,} {split}' for split, count in data.rows.items())} rows."
    errors = [f"{row_label(row)}: {' '.join(row.error.split())}" for row in section.rows if row.error is not None]
    return [facts, *section.notes, *errors]


def to_markdown(content: PaperContent) -> str:
    """Return all tables in GitHub-flavoured Markdown, each followed by its notes. The text ends with a newline."""
    parts = []
    for section in content.sections:
        parts.append(f"## {section.title}")
        for view in paper_views(section):
            header = ["", *(f"{group} {whose}" for group in view.groups for whose in (OURS, PRINTED))]
            lines = [header, ["---", *["---:"] * (len(header) - 1)], *([row, *cells] for row, _, cells in view.rows)]
            table = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
            parts.append("\n".join([f"**{view.title}**", "", *table]))
        parts.append("\n".join(f"- {note}" for note in section_notes(section)))
    parts.append("\n".join(f"- {note}" for note in content.notes))
    return "\n\n".join(parts) + "\n"


_Reader = Callable[[PaperNumbers], tuple[float | None, int]]
"""Returns a number and the decimals with which ours is shown."""


def _view(section: PaperSection, title: str, groups: Sequence[str], readers: Sequence[_Reader]) -> PaperView:
    rows = []
    for row in section.rows:
        cells = [text for read in readers for text in (_ours(row, *read(row.ours)), _printed(*read(row.printed)))]
        rows.append((row_label(row), row.is_method, tuple(cells)))
    return PaperView(title, tuple(groups), tuple(rows))


def _ours(row: PaperRow, number: float | None, decimals: int) -> str:
    if number is None:
        return FAILED if row.error is not None and not row.ours.recall else UNDEFINED
    return _text(number, decimals)


def _printed(number: float | None, decimals: int) -> str:
    """Return a number from the paper as text, or a dash if it is None.

    If `decimals` is 1 but the paper prints a second decimal, the text has two decimals.
    """
    if number is None:
        return ABSENT
    more = decimals == 1 and abs(round(number, 1) - number) > 1e-6
    return _text(number, decimals + more)


def _text(number: float, decimals: int) -> str:
    return percent(number / 100, decimals)


def row_label(row: PaperRow) -> str:
    """Return the label of a row of a table, with the number N of synthetic rows if the row depends on it."""
    return row.label if row.size is None else f"{row.label}, N = {row.size}"


def _recall(level: str) -> _Reader:
    return lambda numbers: (_percent(numbers.recall.get(level)), 1)


def _gain(level: str) -> _Reader:
    return lambda numbers: (_percent(numbers.gain.get(level)), 0)


def _direction(direction: str, level: str) -> _Reader:
    return lambda numbers: (_percent(numbers.directions.get(direction, {}).get(level)), 1)


def _seconds(numbers: PaperNumbers) -> tuple[float | None, int]:
    return numbers.seconds, 3


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
