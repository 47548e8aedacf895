"""Charts for one or several runs: losses, validation scores, and learned step sizes.

The chart of the matching loss also shows its rank floor, a lower bound for any set with the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omnidistill.distillation.outer.task_loss import TASK
from omnidistill.evaluation.run_scores import RunScores
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.curves import Point, line_chart

_X = "outer iteration"


@dataclass(frozen=True)
class Chart:
    """A chart with its title. `svg` is the text of an SVG element."""

    title: str
    svg: str


def run_charts(scores: RunScores, metrics: Sequence[MetricsRecord], iteration: int | None = None) -> Iterator[Chart]:
    """Yield the charts of a run: losses, validation scores and step sizes. Charts without data are omitted.

    Args:
        scores: scores of the run.
        metrics: records from the log of the run.
        iteration: outer iteration at which the run obtained its final set; it is marked on every curve. If None,
            nothing is marked.
    """
    steps = curves(metrics, "step_size/")
    log_steps = all(y > 0 for curve in steps.values() for _, y in curve)
    for title, drawn, y_label, floor, log_y in (
        *((title, drawn, "loss", floor, False) for title, drawn, floor in _losses(scores, metrics)),
        ("Mean recall on the validation split", _percent(curves(metrics, "validation")), "mean recall, %", None, False),
        ("Learned step sizes", steps, f"step size{', log scale' if log_steps else ''}", None, log_steps),
    ):
        if drawn:
            marks = {} if iteration is None else dict.fromkeys(drawn, float(iteration))
            chart = line_chart(drawn, title=title, x_label=_X, y_label=y_label, floor=floor, marks=marks, log_y=log_y)
            yield Chart(title, chart)


def shared_charts(
    runs: Mapping[str, Sequence[MetricsRecord]], iterations: Mapping[str, int] | None = None
) -> Iterator[Chart]:
    """Yield a chart of the validation score and a chart of the loss, with one curve per run.

    Args:
        runs: {label of a run: records from its log}.
        iterations: {label of a run: outer iteration at which the run obtained its final set}. This iteration is marked
            on the curve of the run.
    """
    marks = {label: float(iteration) for label, iteration in (iterations or {}).items()}
    for title, key, y_label in (
        ("Mean recall on the validation split", "validation", "mean recall, %"),
        ("Outer loss", "loss", "loss"),
    ):
        drawn = {label: curve for label, metrics in runs.items() for curve in curves(metrics, key).values()}
        if drawn:
            drawn = _percent(drawn) if key == "validation" else drawn
            chart = line_chart(drawn, title=f"{title}, all runs", x_label=_X, y_label=y_label, marks=marks)
            yield Chart(title, chart)


def total_floor(scores: RunScores) -> float | None:
    """Return the rank floor (a lower bound on the matching loss), summed over modalities.

    Return None if the run has no rank floor or no matching loss.
    """
    return sum(scores.floor.values(), start=0.0) if scores.floor and scores.matching_loss is not None else None


def curves(metrics: Sequence[MetricsRecord], key: str) -> dict[str, list[Point]]:
    """Return {name of a metric: curve}. A curve is a list of points (iteration, value).

    Args:
        metrics: records from a log. Records without an iteration are ignored.
        key: name of a metric; or a prefix that ends with a slash, to select all metrics with this prefix.
    """
    named: dict[str, list[Point]] = {}
    for record in metrics:
        if record.iteration is None:
            continue
        for name, value in record.values.items():
            if name.startswith(key) if key.endswith("/") else name == key:
                named.setdefault(name.removeprefix(key) or name, []).append((float(record.iteration), float(value)))
    return named


def _losses(
    scores: RunScores, metrics: Sequence[MetricsRecord]
) -> Iterator[tuple[str, dict[str, list[Point]], float | None]]:
    """Yield (title, curves, rank floor) for every chart of a loss.

    The rank floor is a lower bound on the matching loss; None for a chart that shows no such bound.
    """
    total, terms = curves(metrics, "loss"), curves(metrics, "loss/")
    task = {"task": terms.pop(TASK)} if TASK in terms else {}
    name = "Outer loss" if scores.matching_loss is None else "Matching loss"
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
    """Return the pointwise sum of the curves. Iterations at which any curve has no value are omitted."""
    values: dict[float, list[float]] = {}
    for curve in drawn:
        for x, y in curve:
            values.setdefault(x, []).append(y)
    return {"sum": [(x, sum(ys)) for x, ys in sorted(values.items()) if len(ys) == len(drawn)]}


def _percent(drawn: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    return {name: [(x, 100 * y) for x, y in curve] for name, curve in drawn.items()}
