"""The curves of one or several runs: losses, validation scores and learned step sizes by outer iteration.

Functions return values and draw nothing; `report.charts` and `plotting.kinds.training_curves` draw them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omnidistill.distillation.outer.task_loss import TASK
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.curves import Point

X_LABEL = "outer iteration"
VALIDATION = "Mean recall on the validation split"


@dataclass(frozen=True)
class CurveGroup:
    """Curves that share a pair of axes.

    Attributes:
        title: title of the chart.
        curves: {name of a curve: points (iteration, value)}.
        y_label: what the values are, with their unit.
        floor: a lower bound on the values; None if there is none.
        log_y: whether to show the values on a logarithmic scale.
    """

    title: str
    curves: Mapping[str, Sequence[Point]]
    y_label: str
    floor: float | None = None
    log_y: bool = False


def run_curves(
    metrics: Sequence[MetricsRecord], floor: Mapping[str, float] | None, *, matching: bool
) -> Iterator[CurveGroup]:
    """Yield the curves of one run: losses, then validation scores, then step sizes. Groups without curves are omitted.

    Args:
        metrics: records from the log of the run.
        floor: {modality: rank floor}, a lower bound on the matching loss; None if there is none.
        matching: whether the run has a matching loss.
    """
    steps = curves(metrics, "step_size/")
    groups = [
        *_losses(metrics, sum(floor.values(), start=0.0) if floor and matching else None, matching),
        CurveGroup(VALIDATION, _percent(curves(metrics, "validation")), "mean recall, %"),
        CurveGroup(
            "Learned step sizes", steps, "step size", log_y=all(y > 0 for curve in steps.values() for _, y in curve)
        ),
    ]
    yield from (group for group in groups if group.curves)


def shared_curves(runs: Mapping[str, Sequence[MetricsRecord]]) -> Iterator[CurveGroup]:
    """Yield the validation scores and the losses of several runs, with one curve per run.

    Args:
        runs: {label of a run: records from its log}.
    """
    for title, key, y_label in ((VALIDATION, "validation", "mean recall, %"), ("Outer loss", "loss", "loss")):
        of_runs = {label: curve for label, metrics in runs.items() for curve in curves(metrics, key).values()}
        if of_runs:
            yield CurveGroup(f"{title}, all runs", _percent(of_runs) if key == "validation" else of_runs, y_label)


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


def _losses(metrics: Sequence[MetricsRecord], floor: float | None, matching: bool) -> Iterator[CurveGroup]:
    """Yield the curves of every loss.

    Args:
        metrics: records from the log of the run.
        floor: rank floor, summed over modalities: a lower bound on the matching loss; None if there is none.
        matching: whether the run has a matching loss.
    """
    total, terms = curves(metrics, "loss"), curves(metrics, "loss/")
    task = {"task": terms.pop(TASK)} if TASK in terms else {}
    name = "Matching loss" if matching else "Outer loss"
    if not task:
        yield CurveGroup(f"{name}{'' if floor is None else ' and its rank floor'}", total, "loss", floor)
    elif terms:
        yield CurveGroup("Outer loss: matching and task loss", total, "loss")
        title = f"{name}, summed over modalities{'' if floor is None else ', and its rank floor'}"
        yield CurveGroup(title, _summed(list(terms.values())), "loss", floor)
    yield CurveGroup(f"{name} by modality", terms, "loss")
    yield CurveGroup("Task loss: the trained student on real rows", task, "loss")


def _summed(drawn: Sequence[Sequence[Point]]) -> dict[str, list[Point]]:
    """Return the pointwise sum of the curves. Iterations at which any curve has no value are omitted."""
    values: dict[float, list[float]] = {}
    for curve in drawn:
        for x, y in curve:
            values.setdefault(x, []).append(y)
    return {"sum": [(x, sum(ys)) for x, ys in sorted(values.items()) if len(ys) == len(drawn)]}


def _percent(drawn: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    return {name: [(x, 100 * y) for x, y in curve] for name, curve in drawn.items()}
