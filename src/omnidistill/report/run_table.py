"""Tables of an evaluation: one row per line (zero-shot, random, distilled, full, ...), for terminal, Markdown and CSV.

Input is the content of `scores.json`. Recall and gain are fractions there and in the CSV, percent in the tables for
reading. Gain retained is (line - zero_shot) / (full - zero_shot), "n/a" where the full data gain nothing beyond noise.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnidistill.core.errors import InputError

if TYPE_CHECKING:
    import rich.table

Scores = Mapping[str, Any]

ABSENT = "–"
CSV_HEADER = ("line", "direction", "K", "mean", "std", "gain_mean", "gain_low", "gain_high")
_SCHEMA = 1
_OWN_LINES = ("distilled", "full_own")
_SHARED_LINES = ("zero_shot", "full")
_RECALL_TOLERANCE = 5e-4


@dataclass(frozen=True)
class TextTable:
    """A table as text; the first `num_labels` columns name the row, the others hold numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 1


def score_rows(scores: Scores) -> TextTable:
    """Mean recall over directions (% ± standard deviation over seeds), gain retained, time and weight of every line.

    Raises InputError where a line or a recall that the table needs is missing.
    """
    lines, ks = score_lines(scores), recall_levels(scores)
    header = ("Line", *(f"{k} %" for k in ks), *(f"gain retained {k}" for k in ks), "seconds", "bytes")
    rows = tuple(
        (
            _label(name, line),
            *(_recall_cell(line["recall"]["mean"].get(k)) for k in ks),
            *(_gain_cell(gain_retained(line, k)) for k in ks),
            ABSENT if line.get("seconds") is None else f"{line['seconds']:,.1f}",
            ABSENT if line.get("bytes") is None else human_bytes(line["bytes"]),
        )
        for name, line in lines.items()
    )
    return TextTable(header, rows)


def direction_rows(scores: Scores) -> TextTable:
    """Recall of every line for every direction (query -> gallery), in % ± standard deviation over seeds."""
    lines, ks = score_lines(scores), recall_levels(scores)
    directions = [name for name in next(iter(lines.values()))["recall"] if name != "mean"]
    rows = tuple(
        (arrow(direction), _label(name, line), *(_recall_cell(line["recall"].get(direction, {}).get(k)) for k in ks))
        for direction in directions
        for name, line in lines.items()
    )
    return TextTable(("Direction", "Line", *ks), rows, num_labels=2)


def to_rich(scores: Scores) -> rich.table.Table:
    """The score table for a terminal; gain stands under recall and bytes under seconds, so that it fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    ks, title = recall_levels(scores), Text(_title(scores))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    table.add_column("Line", overflow="fold")
    for name in (*(f"{k} %\ngain %" for k in ks), "seconds\nbytes"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for label, *cells in score_rows(scores).rows:
        recalls, gains = cells[: len(ks)], [cell.removesuffix(" %") for cell in cells[len(ks) : -2]]
        stacked = zip((*recalls, cells[-2]), (*gains, cells[-1]), strict=True)
        table.add_row(Text(label), *(Text(f"{upper}\n{lower}") for upper, lower in stacked))
    return table


def to_markdown(scores: Scores) -> str:
    """The score table in GitHub's Markdown, ending in a newline."""
    table = score_rows(scores)
    rule = ["---" if number < table.num_labels else "---:" for number in range(len(table.header))]
    rows = [table.header, rule, *table.rows]
    return "".join("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |\n" for row in rows)


def to_csv(scores: Scores) -> str:
    """All recalls as plain numbers, one record per line, direction and K; the gain is of the mean over directions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for name, line in score_lines(scores).items():
        for direction, levels in line["recall"].items():
            for k, recall in levels.items():
                gain = (gain_retained(line, k) if direction == "mean" else None) or {}
                numbers = (recall["mean"], recall.get("std"), *(gain.get(part) for part in ("mean", "low", "high")))
                writer.writerow((name, direction, _level(k), *("" if n is None else repr(n) for n in numbers)))
    return text.getvalue()


def combine(runs: Sequence[Scores]) -> dict[str, Any]:
    """Scores of several runs over the same data as one: all lines of the first, then what is each further run's own.

    Its own are the distilled set and the full training by its own objective (left out where a run before has the same).
    Raises InputError where the runs were not scored against the same references.
    """
    if not runs:
        raise InputError("report: no scores to combine; give those of at least one run")
    merged = dict(runs[0])
    names = list(score_lines(runs[0]))
    for number, scores in enumerate(runs[1:], start=2):
        lines = score_lines(scores)
        _require_same_references(runs[0], scores, number)
        for own in _OWN_LINES:
            if own not in lines or any(_is_same_line(merged[name], lines[own]) for name in names):
                continue
            name = f"{own} ({scores.get('method', number)})"
            names.append(name if name not in names else f"{name} {number}")
            merged[names[-1]] = lines[own]
    return merged | {"lines": names}


def score_lines(scores: Scores) -> dict[str, dict[str, Any]]:
    """Lines of an evaluation by name, in order. Raises InputError where scores are damaged or of another schema."""
    if scores.get("schema") != _SCHEMA:
        raise InputError(
            f"scores: field schema is {scores.get('schema')!r}, this version reads {_SCHEMA}; evaluate the run again"
        )
    names = scores.get("lines")
    if not isinstance(names, list) or not names:
        raise InputError("scores: field lines must name at least one line; evaluate the run again")
    for name in names:
        line = scores.get(name)
        recall = line.get("recall") if isinstance(line, dict) else None
        if not isinstance(recall, dict) or not isinstance(recall.get("mean"), dict):
            raise InputError(f"scores: line {name!r} has no recall.mean; evaluate the run again")
    return {name: scores[name] for name in names}


def recall_levels(scores: Scores) -> list[str]:
    """Names of the recalls, "R@1" and so on, by rising K."""
    return sorted(next(iter(score_lines(scores).values()))["recall"]["mean"], key=_level)


def gain_retained(line: Mapping[str, Any], k: str) -> dict[str, float] | None:
    """Gain retained at one K as {"mean", "low", "high"}, or None where it is not defined."""
    gain: dict[str, float] | None = (line.get("gain_retained") or {}).get(k)
    return gain


def percent(fraction: float, decimals: int = 1, sign: bool = False) -> str:
    """A fraction in percent, without the % sign, with a true minus."""
    text = f"{100 * fraction:{'+' if sign else ''}.{decimals}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def interval(estimate: Mapping[str, float], decimals: int = 0, sign: bool = False) -> str:
    """`mean [low, high]` in percent, without the % sign."""
    mean, low, high = (percent(estimate[part], decimals, sign) for part in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def human_bytes(count: int | float) -> str:
    """Bytes in decimal units: 123456 -> 123.5 kB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"


def arrow(direction: str) -> str:
    """`image->text` as it is shown."""
    return direction.replace("->", " → ")


def _recall_cell(recall: Mapping[str, float | None] | None) -> str:
    if recall is None or (mean := recall["mean"]) is None:
        return ABSENT
    std = recall.get("std")
    return percent(mean) + ("" if std is None else f" ± {percent(std)}")


def _gain_cell(gain: Mapping[str, float] | None) -> str:
    return "n/a" if gain is None else f"{interval(gain)} %"


def _label(name: str, line: Mapping[str, Any]) -> str:
    return str(line.get("label") or name)


def _level(k: str) -> int:
    number = k.removeprefix("R@")
    if not number.isdecimal():
        raise InputError(f"scores: recall is named {k!r}, allowed is R@K with a whole K; evaluate the run again")
    return int(number)


def _title(scores: Scores) -> str:
    data = scores.get("data", {}).get("name", "")
    return f"{data}: mean recall over directions, test split" if data else "Mean recall over directions, test split"


def _markdown_cell(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _is_same_line(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return bool(left.get("label") == right.get("label") and left["recall"] == right["recall"])


def _require_same_references(first: Scores, other: Scores, number: int) -> None:
    for field in ("name", "widths", "rows"):
        left, right = first.get("data", {}).get(field), other.get("data", {}).get(field)
        if left != right:
            raise InputError(
                f"report: run {number} was scored on other data than run 1: data.{field} is {right!r}, not {left!r}; "
                "combine runs over the same data"
            )
    left_lines, right_lines = score_lines(first), score_lines(other)
    for name in _SHARED_LINES:
        if name not in left_lines or name not in right_lines:
            raise InputError(f"report: line {name!r} is missing in run 1 or {number}; evaluate both runs again")
        for k, recall in left_lines[name]["recall"]["mean"].items():
            theirs = right_lines[name]["recall"]["mean"].get(k, {}).get("mean", math.nan)
            if not abs(recall["mean"] - theirs) <= _RECALL_TOLERANCE:
                raise InputError(
                    f"report: {name} reaches {k} {theirs:.4f} in run {number} and {recall['mean']:.4f} in run 1; "
                    "evaluate both with the same heads, number of seeds and settings of the full run"
                )
