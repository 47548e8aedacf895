"""The curves of one or several runs: losses, validation scores and learned step sizes by outer iteration.

Functions return values and draw nothing; `report.charts` and `plotting.kinds.training_curves` draw them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from omnidistill.distillation import Distillation
from omnidistill.distillation.outer.task_loss import TASK
from omnidistill.io.tracking import MetricsRecord
from omnidistill.report.axes import log_axis_helps
from omnidistill.report.curves import Point

_VALIDATION = "Mean recall on the validation split", "mean recall, %"
_MAX_LENGTH_RATIO = 4  # of the numbers of iterations of two runs whose curves share an x axis in iterations


@dataclass(frozen=True)
class CurveGroup:
    """Curves that share a pair of axes.

    Attributes:
        title: title of the chart.
        curves: {name of a curve: points (x, value)}, in ascending order of x.
        y_label: what the values are, with their unit.
        x_label: what x is.
        floor: a lower bound on the values; None if there is none.
        marks: {name of a curve: x value at which the run obtained its set}.
    """

    title: str
    curves: Mapping[str, Sequence[Point]]
    y_label: str
    x_label: str = "outer iteration"
    floor: float | None = None
    marks: Mapping[str, float] = field(default_factory=dict)

    @property
    def log_y(self) -> bool:
        """Whether a logarithmic scale shows the values better."""
        values = (y for curve in self.curves.values() for _, y in curve)
        return log_axis_helps(values) and (self.floor is None or self.floor > 0)


def run_curves(
    metrics: Sequence[MetricsRecord],
    floor: Mapping[str, float] | None,
    *,
    matching: bool,
    iteration: int | None = None,
) -> Iterator[CurveGroup]:
    """Yield the curves of one run: losses, then validation scores, then step sizes. Groups without curves are omitted.

    Args:
        metrics: records from the log of the run.
        floor: {modality: rank floor}, a lower bound on the matching loss; None if there is none.
        matching: whether the run has a matching loss.
        iteration: outer iteration at which the run obtained its set; it is marked on every curve. If None, nothing is
            marked.
    """
    title, y_label = _VALIDATION
    steps = curves(metrics, "step_size/")
    groups = [
        *_losses(metrics, sum(floor.values(), start=0.0) if floor and matching else None, matching),
        CurveGroup(title, _percent(curves(metrics, "validation")), y_label),
        CurveGroup("Learned step sizes", steps if _changes(steps) else {}, "step size"),
    ]
    for group in groups:
        if group.curves:
            yield group if iteration is None else replace(group, marks=dict.fromkeys(group.curves, float(iteration)))


def shared_curves(runs: Mapping[str, Sequence[MetricsRecord]], iterations: Mapping[str, int]) -> Iterator[CurveGroup]:
    """Yield the validation scores and the losses of several runs, with one curve per run.

    Usually, x is the outer iteration. If the longest run has more than 4 times as many iterations as the shortest, x is
    the iteration in percent of the last iteration of the same run.

    Args:
        runs: {label of a run: records from its log}.
        iterations: {label of a run: outer iteration at which the run obtained its set}. This iteration is marked on the
            curve of the run.
    """
    validation = {label: curves(metrics, "validation") for label, metrics in runs.items()}
    losses = {label: curves(metrics, "loss") for label, metrics in runs.items()}
    lengths = {label: max((each.iteration or 0 for each in metrics), default=0) for label, metrics in runs.items()}
    known = [length for length in lengths.values() if length]
    as_share = bool(known) and max(known) > _MAX_LENGTH_RATIO * min(known)
    x_label = "iterations done, % of the run" if as_share else "outer iteration"
    scales = {label: 100 / (length or 1) if as_share else 1.0 for label, length in lengths.items()}
    marks = {label: scales[label] * iteration for label, iteration in iterations.items()}
    for (title, y_label), named in ((_VALIDATION, validation), (("Outer loss", "loss"), losses)):
        of_runs = {
            label: [(scales[label] * x, y) for x, y in curve]
            for label, by_name in named.items()
            for curve in by_name.values()
        }
        if of_runs:
            shown = _percent(of_runs) if named is validation else of_runs
            yield CurveGroup(title, shown, y_label, x_label, marks=marks)


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


def kept_iteration(part: Distillation) -> int | None:
    """Return the outer iteration at which the run obtained its set; None if it is unknown.

    If the set does not record the iteration, return the first one whose validation score equals that of the set.
    """
    provenance = part.distilled.provenance
    if provenance.iteration is not None or provenance.validation is None:
        return provenance.iteration
    same = (record.iteration for record in part.records if record.values.get("validation") == provenance.validation)
    return next((iteration for iteration in same if iteration is not None), None)


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
        yield CurveGroup(f"{name}{'' if floor is None else ' and its rank floor'}", total, "loss", floor=floor)
    elif terms:
        yield CurveGroup("Outer loss: matching and task loss", total, "loss")
        title = f"{name}, summed over modalities{'' if floor is None else ', and its rank floor'}"
        yield CurveGroup(title, _summed(list(terms.values())), "loss", floor=floor)
    yield CurveGroup(f"{name} by modality", terms, "loss")
    yield CurveGroup("Task loss: the trained student on real rows", task, "loss")


def _changes(of_names: Mapping[str, Sequence[Point]]) -> bool:
    """Return whether any curve has two different values, that is, whether something was learned."""
    return any(len({y for _, y in curve}) > 1 for curve in of_names.values())


def _summed(drawn: Sequence[Sequence[Point]]) -> dict[str, list[Point]]:
    """Return the pointwise sum of the curves. Iterations that are missing in at least one curve are omitted."""
    values: dict[float, list[float]] = {}
    for curve in drawn:
        for x, y in curve:
            values.setdefault(x, []).append(y)
    return {"sum": [(x, sum(ys)) for x, ys in sorted(values.items()) if len(ys) == len(drawn)]}


def _percent(drawn: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    return {name: [(x, 100 * y) for x, y in curve] for name, curve in drawn.items()}
