"""The distilled sets of the proxy study: trajectory matching as in the presets, with step sizes tuned on all rows."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import omnidistill as od
from omnidistill.core.errors import NotFiniteError
from omnidistill.evaluation.validation import validation_score
from proxy_cells import Cell, Store, drawn, full_cell, scores
from proxy_readings import BINDS, READINGS

SIZE = 50


@dataclass(frozen=True)
class Method:
    """A distilled method: its preset, the names of the objectives of student and experts, and other settings."""

    preset: str
    student: str
    experts: str
    settings: Mapping[str, Any] = field(default_factory=dict)


HOPA_LOOP = {"distill.num_student_steps": 32, "distill.outer.num_expert_epochs": 4}
"""The student steps and expert epochs of the preset `hopa`; the pairwise presets have half as many of both."""


PAIRWISE_METHODS = {
    "3-pair": Method("three-pair", "3-pair", "3-pair"),
    "3-pair, tau 0.2": Method("three-pair", "3-pair, tau 0.2", "3-pair, tau 0.2"),
    "T-bind": Method("bind", "T-bind", "T-bind"),
    "V-bind": Method("bind", "V-bind", "V-bind"),
    "LoRS": Method("lors", "3-pair", "InfoNCE"),
    "InfoNCE": Method("mtt", "InfoNCE", "InfoNCE"),
    "3-pair, tau 0.2, HoPA's loop": Method("three-pair", "3-pair, tau 0.2", "3-pair, tau 0.2", HOPA_LOOP),
    "LoRS, HoPA's loop": Method("lors", "3-pair", "InfoNCE", HOPA_LOOP),
    "InfoNCE, HoPA's loop": Method("mtt", "InfoNCE", "InfoNCE", HOPA_LOOP),
}


def distilled_methods(best: Sequence[str]) -> dict[str, Method]:
    """Return all distilled methods: HoPA, its best readings, HoPA without similarity mining, and the pairwise ones."""
    readings = {name: Method("hopa", name, name) for name in ("HoPA", *best)}
    return {**readings, "HoPA, S = I": Method("hopa-no-similarity", "HoPA", "HoPA"), **PAIRWISE_METHODS}


def distilled_cell(store: Store, regime: str, name: str, method: Method, draw: int) -> Cell:
    """Distil a set. Step sizes are those that are best on all rows; test recall is the mean of two students."""
    rates = {role: full_cell(store, regime, getattr(method, role), draw)["rate"] for role in ("student", "experts")}

    def compute() -> Cell:
        data = drawn(regime, draw)
        settings = {
            "distill.iterations": store.effort.iterations,
            "distill.validate_every": store.effort.iterations // 2,
            "distill.initial_step_size": rates["student"],
            "experts.learning_rate": rates["experts"],
            **method.settings,
            **_objective_settings("distill.student", method.student),
            **_objective_settings("experts.objective", method.experts),
        }
        try:
            result = od.distill(
                data.data,
                size=SIZE,
                preset=method.preset,
                settings=settings,
                heads=data.start,
                seed=draw,
                progress=False,
            )
        except NotFiniteError as error:
            return {"recall": None, "failed": str(error)}
        students = [result.train(data.start, student) for student in (0, 1)]
        validation = [100 * validation_score(heads, data.development.validation) for heads in students]
        tested = [scores(heads, data.data.split("test")) for heads in students]
        directions = {way: _means([each["directions"][way] for each in tested]) for way in tested[0]["directions"]}
        return {
            "validation": round(statistics.fmean(validation), 3),
            "recall": _means([each["recall"] for each in tested]),
            "directions": directions,
            "steps": result.set.recipe.num_steps,
            "notes": list(result.notes),
        }

    return store.add(f"distilled/{regime}/{name}/{draw}", compute)


def _objective_settings(place: str, name: str) -> dict[str, Any]:
    if name in BINDS:
        return {f"{place}.anchor": f"m{BINDS[name]}"}
    if name == "3-pair, tau 0.2":
        return {f"{place}.tau": 0.2}
    if name == "HoPA" or name not in READINGS:
        return {}
    reading = READINGS[name]
    return {f"{place}.kind": reading.kind, **{f"{place}.{key}": value for key, value in reading.settings.items()}}


def _means(values: Sequence[Sequence[float]]) -> list[float]:
    return [round(statistics.fmean(each), 3) for each in zip(*values, strict=True)]
