"""Baselines in a dry run: the same fit with one of the values that validation chooses from, two runs and few steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from omnidistill.evaluation.baselines import Baseline
from omnidistill.experiments.comparison.cells import ComparisonContext, fit_baseline
from omnidistill.experiments.comparison.plan import BaselineCell
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.expert_estimate import USUAL_EPOCHS
from omnidistill.io.tracking import Progress

_SECONDS = 4.0  # of the search with one step size
_RUNS, _STEPS = 2, 256


def baseline_stages(place: ComparisonContext, cells: Sequence[BaselineCell], progress: Progress) -> list[Stage]:
    """Return the stage of every baseline, and store its result for those that need it."""
    needed = {name for cell in cells for name in cell.baseline.needs}
    progress.start(len(cells), "baselines")
    stages = {}
    for cell in sorted(cells, key=lambda cell: cell.baseline.kind not in needed):
        stages[cell] = _stage(place, cell)
        progress.advance(1)
    return [stages[cell] for cell in cells]


def _stage(place: ComparisonContext, cell: BaselineCell) -> Stage:
    evaluate, choices = cell.evaluate, _choices(cell)
    middle = evaluate.learning_rates[(len(evaluate.learning_rates) - 1) // 2]
    few = evaluate.evolve(num_seeds=_RUNS, learning_rates=(middle,), max_epochs=min(2, evaluate.max_epochs))
    small = replace(cell, baseline=_with_few_choices(cell.baseline), evaluate=few)
    seconds = _seconds(place, small)
    tensors, result = place.store.load(small)
    runs = evaluate.num_seeds / _RUNS
    if "num_epochs" in result["settings"] and evaluate.protocol == "paper":  # every run has all epochs
        epochs = (choices + evaluate.num_seeds) * evaluate.max_epochs
        seconds *= epochs / ((1 + _RUNS) * few.max_epochs)
        stage = Stage(_name(cell), (choices + 1) * evaluate.max_epochs, "epochs", seconds)
    elif "num_epochs" in result["settings"]:
        epochs = result["judged"] + _RUNS * result["settings"]["num_epochs"]
        tried = min(int(_SECONDS * epochs / (seconds * (1 + _RUNS))), evaluate.max_epochs)
        if tried >= USUAL_EPOCHS // 2:
            small = replace(small, evaluate=few.evolve(max_epochs=tried))
            seconds = _seconds(place, small)
            result = place.store.load(small)[1]
            epochs = result["judged"] + _RUNS * result["settings"]["num_epochs"]
        judged, chosen = result["judged"], result["settings"]["num_epochs"]
        if judged == small.evaluate.max_epochs < evaluate.max_epochs:  # it did not end
            judged = chosen = min(max(USUAL_EPOCHS, judged), evaluate.max_epochs)
        steps = round(choices * judged) + chosen
        seconds *= (choices * judged + evaluate.num_seeds * chosen) / epochs
        stage = Stage(_name(cell), steps, "epochs", seconds, about=True)
    elif (longest := getattr(cell.baseline, "max_steps", None)) is not None:
        half = replace(small, baseline=small.baseline.evolve(max_steps=max(1, small.baseline.max_steps // 2)))  # type: ignore[attr-defined]
        done = small.baseline.max_steps  # type: ignore[attr-defined]
        step = max(seconds - _seconds(place, half), 0.0) / (done - half.baseline.max_steps or 1)  # type: ignore[attr-defined]
        seconds = choices * (seconds + (longest - done) * step)
        stage = Stage(_name(cell), choices * 2 * longest, "steps", seconds)
    elif cell.baseline.needs:
        stage = Stage(_name(cell), 1, "fits", seconds * runs)
    else:
        stage = Stage(_name(cell), 1, "fits", seconds * choices)
    size = sum(tensor.nbytes * (runs if len(tensor) == _RUNS else 1) for tensor in tensors.values())
    return replace(stage, bytes=round(size))


def _seconds(place: ComparisonContext, cell: BaselineCell) -> float:
    started_at = time.monotonic()
    fit_baseline(place, cell)
    return time.monotonic() - started_at


def _choices(cell: BaselineCell) -> int:
    """Return how many values validation chooses from."""
    own = [getattr(cell.baseline, name) for name in ("learning_rates", "ridges") if hasattr(cell.baseline, name)]
    return len(own[0]) if own else 1 if cell.baseline.kind == "zero-shot" else len(cell.evaluate.learning_rates)


def _with_few_choices(baseline: Baseline) -> Baseline:
    changes: dict[str, object] = {}
    for name in ("learning_rates", "ridges"):
        values = getattr(baseline, name, ())
        changes |= {name: (values[(len(values) - 1) // 2],)} if values else {}
    if hasattr(baseline, "max_steps"):
        changes["max_steps"] = min(_STEPS, baseline.max_steps)
    return baseline.evolve(**changes)


def _name(cell: BaselineCell) -> str:
    if cell.budget is not None:
        return f"{cell.name}, {cell.budget:,} B"
    return cell.name if cell.size is None else f"{cell.name}, {cell.size} rows"
