"""One self-contained HTML page about runs over the same data: claim, tables, curves, and the synthetic instances.

A synthetic instance is a vector for each modality, so it is shown by the nearest real training item of each. Everything
a run brings (captions, labels, settings) is text and escaped; a content security policy keeps the page off the network.
Each distinct picture is stored once, however often it is shown.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omnidistill.errors import InputError
from omnidistill.report.curves import Point, line_chart
from omnidistill.report.tables import (
    combine,
    direction_rows,
    gain_retained,
    human_bytes,
    interval,
    percent,
    recall_levels,
    score_lines,
    score_rows,
)


@dataclass(frozen=True)
class Neighbour:
    """The real training item nearest to an instance in one modality, and the cosine of their features in [-1, 1].

    `id` names the item across modalities: equal ids are the same thing (the group, where several rows are one thing).
    """

    id: str
    caption: str
    picture: bytes | None
    cosine: float


@dataclass(frozen=True)
class Instance:
    """One synthetic instance: its row, its weight if it has one, and its nearest real item by modality."""

    index: int
    weight: float | None
    neighbours: Mapping[str, Neighbour]

    @property
    def agrees(self) -> bool:
        """Whether the nearest items of all its modalities (at least two) are the same thing."""
        return len(self.neighbours) > 1 and len({neighbour.id for neighbour in self.neighbours.values()}) == 1


@dataclass(frozen=True)
class RunView:
    """What the page shows of a run: the content of scores.json, the records of metrics.jsonl, its instances."""

    scores: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    instances: Sequence[Instance]


def render_page(runs: Sequence[RunView]) -> str:
    """The page as HTML; equal input gives equal bytes.

    Raises InputError where scores are damaged or the runs were not scored on the same data (see `tables.combine`).
    """
    if not runs:
        raise InputError("page: no run to show; give at least one")
    scores = combine([run.scores for run in runs])
    pictures = _Pictures()
    views = [_run_view(run, pictures) for run in runs]
    names = list(score_lines(scores))
    environment = Environment(
        loader=PackageLoader("omnidistill.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csp_hash"] = _csp_hash
    return environment.get_template("page.html.jinja").render(
        data_name=str(scores.get("data", {}).get("name") or "data"),
        rows=scores.get("data", {}).get("rows") or {},
        widths=scores.get("data", {}).get("widths") or {},
        licences=[_plain(entry) for entry in scores.get("data", {}).get("licence") or []],
        num_seeds=scores.get("num_seeds"),
        scores_table=score_rows(scores),
        emphasised={number for number, name in enumerate(names) if name.startswith("distilled")},
        directions=_by_direction(scores),
        recall_levels=recall_levels(scores),
        runs=views,
        pictures=pictures.encoded,
    )


class _Pictures:
    """Distinct pictures in order of first use; asking for one gives its number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def number(self, picture: bytes | None) -> int | None:
        return None if picture is None else self._numbers.setdefault(picture, len(self._numbers))

    @property
    def encoded(self) -> list[str]:
        return [base64.b64encode(picture).decode("ascii") for picture in self._numbers]


def _run_view(run: RunView, pictures: _Pictures) -> dict[str, Any]:
    scores, line = run.scores, _distilled(run.scores)
    return {
        "label": str(line.get("label") or scores.get("method") or "distilled"),
        "claim": _claim(scores),
        "differences": _differences(scores),
        "matching": _matching(scores),
        "charts": [{"title": title, "svg": Markup(svg)} for title, svg in _charts(run)],
        "num_agreeing": sum(instance.agrees for instance in run.instances),
        "instances": [
            {
                "index": instance.index,
                "weight": None if instance.weight is None else f"{instance.weight:.3g}",
                "agrees": instance.agrees,
                "neighbours": [
                    {
                        "modality": modality,
                        "caption": neighbour.caption,
                        "picture": pictures.number(neighbour.picture),
                        "cosine": f"{neighbour.cosine:.2f}".replace("-", "−"),
                    }
                    for modality, neighbour in instance.neighbours.items()
                ],
            }
            for instance in run.instances
        ],
        "command": str(scores.get("command") or ""),
        "facts": {
            "Settings": list(_flat(line.get("settings") or {})),
            "Rank floor of the matching loss": list(_flat(scores.get("floor") or {})),
            "Seconds": list(_flat(scores.get("seconds") or {}, lambda seconds: f"{seconds:,.1f}")),
            "Bytes": list(_flat(scores.get("bytes") or {}, human_bytes)),
            "Versions": list(_flat(scores.get("versions") or {})),
        },
    }


def _distilled(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    lines = score_lines(scores)
    if "distilled" not in lines:
        raise InputError("page: scores have no line 'distilled'; evaluate the run again")
    return lines["distilled"]


def _claim(scores: Mapping[str, Any]) -> str:
    """What the set achieves, in one sentence, with the interval at every K."""
    line, ks = _distilled(scores), recall_levels(scores)
    num_train = scores.get("data", {}).get("rows", {}).get("train")
    everything = f"all {num_train:,} training rows" if isinstance(num_train, int) else "all training rows"
    size = f"{scores['size']:,} synthetic instances" if "size" in scores else "the synthetic instances"
    gains = {k: gain for k in ks if (gain := gain_retained(line, k)) is not None}
    if not gains:
        recalls = _enumerate(f"{percent(line['recall']['mean'][k]['mean'])} % at {k}" for k in ks)
        return (
            f"On this data {everything} add nothing beyond noise to the zero-shot heads, so there is no gain to keep; "
            f"heads trained on {size} recall {recalls}."
        )
    shares = _enumerate(f"{_unbroken(interval(gain))}\u00a0% at {k}" for k, gain in gains.items())
    claim = f"Heads trained on {size} keep {shares} of the recall that {everything} add to the zero-shot heads"
    unknown = [k for k in ks if k not in gains]
    return claim + (f"; at {_enumerate(iter(unknown))} these add nothing beyond noise." if unknown else ".")


def _differences(scores: Mapping[str, Any]) -> list[str]:
    """Paired differences of recall to other lines, in points."""
    sentences = []
    lines = score_lines(scores)
    for key, levels in _distilled(scores).items():
        other = key.removeprefix("difference_to_")
        if other == key or not isinstance(levels, Mapping):
            continue
        known = {k: levels[k] for k in recall_levels(scores) if levels.get(k)}
        if known:
            label = lines.get(other, {}).get("label") or other.replace("_", " ")
            points = _enumerate(f"{_unbroken(interval(value, 1, sign=True))} at {k}" for k, value in known.items())
            sentences.append(f"Difference to “{label}”, in points of recall: {points}.")
    return sentences


def _matching(scores: Mapping[str, Any]) -> str:
    loss, floor = scores.get("matching_loss"), _total_floor(scores)
    if loss is None:
        return ""
    text = f"Matching loss, summed over modalities: {loss:.3g}"
    return text + ("." if floor is None else f"; no set of this size can go below {floor:.3g} (rank floor).")


def _total_floor(scores: Mapping[str, Any]) -> float | None:
    """The floor of the summed loss; without a matching loss the floor bounds nothing."""
    floors: Mapping[str, float] | None = scores.get("floor")
    return sum(floors.values(), start=0.0) if floors and scores.get("matching_loss") is not None else None


def _charts(run: RunView) -> Iterator[tuple[str, str]]:
    validation = {name: [(x, 100 * y) for x, y in curve] for name, curve in _curves(run.metrics, "validation").items()}
    steps = _curves(run.metrics, "step_size/")
    log_steps = all(y > 0 for curve in steps.values() for _, y in curve)
    for title, curves, y_label, low, log_y in (
        *((title, curves, "loss", low, False) for title, curves, low in _losses(run)),
        ("Mean recall on the validation split", validation, "mean recall, %", None, False),
        ("Learned step sizes", steps, f"step size{', log scale' if log_steps else ''}", None, log_steps),
    ):
        if curves:
            label = "outer iteration"
            yield title, line_chart(curves, title=title, x_label=label, y_label=y_label, floor=low, log_y=log_y)


def _losses(run: RunView) -> Iterator[tuple[str, dict[str, list[Point]], float | None]]:
    """Title, curves and floor of the outer loss and of its terms: what is matched, by modality, and the task's."""
    total, terms = _curves(run.metrics, "loss"), _curves(run.metrics, "loss/")
    has_task = "task" in terms and "task" not in run.scores.get("data", {}).get("widths", {})
    task = {"task": terms.pop("task")} if has_task else {}
    name = "Outer loss" if run.scores.get("matching_loss") is None else "Matching loss"
    if not task:
        floor = _total_floor(run.scores)
        yield f"{name}{'' if floor is None else ' and its rank floor'}", total, floor
    elif terms:
        yield "Outer loss: matching and task loss", total, None
    yield f"{name} by modality", terms, None
    yield "Task loss: the trained student on real rows", task, None


def _curves(metrics: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[Point]]:
    """Values against iteration of one metric, or of all that begin with `key` where it ends in a slash."""
    curves: dict[str, list[Point]] = {}
    for record in metrics:
        iteration = record.get("iteration")
        if not _is_number(iteration):
            continue
        for name, value in record.items():
            chosen = name.startswith(key) if key.endswith("/") else name == key
            if chosen and _is_number(value):
                curves.setdefault(name.removeprefix(key) or name, []).append((float(iteration), float(value)))
    return curves


def _by_direction(scores: Mapping[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    groups: dict[str, list[tuple[str, ...]]] = {}
    for direction, *row in direction_rows(scores).rows:
        groups.setdefault(direction, []).append(tuple(row))
    return groups


def _flat(value: Any, show: Callable[[float], str] | None = None, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flat(entry, show, f"{name}.{key}" if name else str(key))
    else:
        yield name, show(value) if show is not None and _is_number(value) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _enumerate(parts: Iterator[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")


def _csp_hash(content: str) -> str:
    """The source expression by which a content security policy allows exactly this inline style or script."""
    digest = hashlib.sha256(str(content).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
