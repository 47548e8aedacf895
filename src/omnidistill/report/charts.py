"""The curves of a run, and of several runs over each other: losses with the rank floor, validation, step sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from omnidistill.distill.outer.task import TASK
from omnidistill.report.curves import Point, line_chart

Scores = Mapping[str, Any]
Records = Sequence[Mapping[str, Any]]
"""One record an iteration, as metrics.jsonl has them."""

_X = "outer iteration"


@dataclass(frozen=True)
class Chart:
    """A title and an SVG element."""

    title: str
    svg: str


def run_charts(scores: Scores, metrics: Records) -> Iterator[Chart]:
    """All curves that a run has."""
    steps = curves(metrics, "step_size/")
    log_steps = all(y > 0 for curve in steps.values() for _, y in curve)
    for title, drawn, y_label, floor, log_y in (
        *((title, drawn, "loss", floor, False) for title, drawn, floor in _losses(scores, metrics)),
        ("Mean recall on the validation split", _percent(curves(metrics, "validation")), "mean recall, %", None, False),
        ("Learned step sizes", steps, f"step size{', log scale' if log_steps else ''}", None, log_steps),
    ):
        if drawn:
            yield Chart(title, line_chart(drawn, title=title, x_label=_X, y_label=y_label, floor=floor, log_y=log_y))


def shared_charts(runs: Mapping[str, Records]) -> Iterator[Chart]:
    """Validation and loss of several runs, by label, over each other."""
    for title, key, y_label in (
        ("Mean recall on the validation split", "validation", "mean recall, %"),
        ("Outer loss", "loss", "loss"),
    ):
        drawn = {label: curve for label, metrics in runs.items() for curve in curves(metrics, key).values()}
        if drawn:
            drawn = _percent(drawn) if key == "validation" else drawn
            yield Chart(title, line_chart(drawn, title=f"{title}, all runs", x_label=_X, y_label=y_label))


def total_floor(scores: Scores) -> float | None:
    """The floor of the summed loss; without a matching loss the floor bounds nothing."""
    floors: Mapping[str, float] | None = scores.get("floor")
    return sum(floors.values(), start=0.0) if floors and scores.get("matching_loss") is not None else None


def curves(metrics: Records, key: str) -> dict[str, list[Point]]:
    """Values against iteration of one metric, or of all that begin with `key` where it ends in a slash."""
    found: dict[str, list[Point]] = {}
    for record in metrics:
        iteration = record.get("iteration")
        if not _is_number(iteration):
            continue
        for name, value in record.items():
            chosen = name.startswith(key) if key.endswith("/") else name == key
            if chosen and _is_number(value):
                found.setdefault(name.removeprefix(key) or name, []).append((float(iteration), float(value)))
    return found


def _losses(scores: Scores, metrics: Records) -> Iterator[tuple[str, dict[str, list[Point]], float | None]]:
    """Title, curves and floor of the outer loss and of its terms: what is matched, by modality, and the task's."""
    total, terms = curves(metrics, "loss"), curves(metrics, "loss/")
    task = {"task": terms.pop(TASK)} if TASK in terms else {}
    name = "Outer loss" if scores.get("matching_loss") is None else "Matching loss"
    floor = total_floor(scores)
    if not task:
        yield f"{name}{'' if floor is None else ' and its rank floor'}", total, floor
    elif terms:
        yield "Outer loss: matching and task loss", total, None
        matched = _summed(list(terms.values()))
        yield f"{name}, summed over modalities{'' if floor is None else ', and its rank floor'}", matched, floor
    yield f"{name} by modality", terms, None
    yield "Task loss: the trained student on real rows", task, None


def _summed(drawn: Sequence[Sequence[Point]]) -> dict[str, list[Point]]:
    """The sum of curves, where they have their iterations in common."""
    values: dict[float, list[float]] = {}
    for curve in drawn:
        for x, y in curve:
            values.setdefault(x, []).append(y)
    return {"sum": [(x, sum(ys)) for x, ys in sorted(values.items()) if len(ys) == len(drawn)]}


def _percent(drawn: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    return {name: [(x, 100 * y) for x, y in curve] for name, curve in drawn.items()}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
