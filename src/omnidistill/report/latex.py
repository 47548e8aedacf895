"""Convert the table of a comparison to LaTeX. The result needs the LaTeX package booktabs.

Each group of columns has a heading with a rule below it. Each block of rows has a heading in italics. Notes follow the
table in small print.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from omnidistill.report.comparison_cells import Cell
from omnidistill.report.comparison_content import Comparison
from omnidistill.report.layouts import comparison_table

_LITERAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "→": r"$\to$",
    "–": "--",
    "†": r"$^\dagger$",
    "-": "{}-",
}
_SPECIAL = re.compile(r"(?<=-)-|[" + re.escape("".join(_LITERAL).replace("-", "")) + "]")  # "--" would be a dash


def to_latex(comparison: Comparison, layout: str | None = None) -> str:
    """Return the table as a `tabular`, followed by its notes as small paragraphs.

    Args:
        comparison: the comparison.
        layout: name of a layout; None uses the comparison's layout.

    Raises:
        InputError: the layout is unknown, or the comparison has size budgets but does not contain the size of the
            training rows.
    """
    table = comparison_table(comparison, layout)
    width = len(table.columns)
    lines = [f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", "\\toprule", *_header(table.columns)]
    for block in table.blocks:
        lines.append("\\midrule")
        if block.heading:
            lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{_escape(block.heading)}}}}} \\\\")
        lines += [_row(_marked(cell) for cell in row) for row in block.rows]
    lines += ["\\bottomrule", "\\end{tabular}", "", "\\smallskip"]
    return "\n".join([*lines, "{\\footnotesize", *(f"{_escape(note)}\\par" for note in table.notes), "}"]) + "\n"


def _header(columns: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the header lines: the names of the column groups, if any, followed by the names of the columns."""
    groups, rules, first = [], [], 1
    for group, members in groupby(columns, key=lambda column: column[0]):
        width = len(list(members))
        if group:
            groups.append(f"\\multicolumn{{{width}}}{{c}}{{{_escape(group)}}}")
            rules.append(f"\\cmidrule(lr){{{first}-{first + width - 1}}}")
        else:
            groups += [""] * width
        first += width
    names = _row(_escape(name) for _, name in columns)
    return [_row(groups), " ".join(rules), names] if rules else [names]


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _marked(cell: Cell) -> str:
    text = _escape(cell.text)
    return (f"\\textbf{{{text}}}" if cell.best else text) + (_LITERAL["†"] if cell.tied else "")


def _escape(text: str) -> str:
    """Escape a text for LaTeX and put it on one line.

    A leading [ or * is preceded by {}. Otherwise LaTeX reads it as an argument of the line break before it.
    """
    escaped = _SPECIAL.sub(lambda match: _LITERAL[match[0]], " ".join(text.split()))
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped
