"""What making a set takes: the method itself, in full size, until it has done a few iterations or comes to tuning.

A set is judged by students: of one that is learned usually for three times the matched steps, at 6 numbers of steps; of
computed rows for all 2,048 steps, at 9, for every step size. How long real rows go on is seen by random ones, for 256
steps at every step size; what has not ended by then goes to the end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.json_value import Json
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.distillation.learnable import random_rows
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.outer import TrajectoryObjective
from omnidistill.evaluation.validation import choose_recipe, doubling_steps
from omnidistill.experiments.config import RunConfig
from omnidistill.experiments.config.budgets import run_bytes
from omnidistill.experiments.dry_run.cost_estimate import Stage
from omnidistill.experiments.dry_run.search_estimate import USUAL_EPOCHS
from omnidistill.experiments.dry_run.training_stages import Measured, usual_seconds
from omnidistill.io.tracking import SilentProgress
from omnidistill.methods import Method, Task
from omnidistill.methods.recipe_choice import TunedMethod
from omnidistill.methods.select import Select
from omnidistill.methods.selectors.random_rows import RandomRows
from omnidistill.training.experts import ExpertBuffer, ExpertsConfig, Start, train_experts
from omnidistill.training.experts.starts import OWN, starts_of_experts

_USUAL_SPANS, _USUAL_SCORES = 3, 6  # of a learned set: matched steps, and numbers of steps judged
_TRIED_STEPS = 256  # of random rows at a step size
STUDENT_STEPS = 64  # that are chosen in the end
_FEW_ROWS = 4096  # that rows are chosen from at most; more are reckoned
_FEW_STEPS = 32


class _EnoughError(Exception):
    """Ends a rehearsal."""


@dataclass
class _Stopwatch(SilentProgress):
    """Notes when a stage began and when each of its steps ended; ends it after enough of them, or at once."""

    seconds: float
    most: int
    begun: float = 0.0
    ends: list[float] = field(default_factory=list)

    def start(self, total: int, label: str, done: int = 0) -> None:
        """The stage begins."""
        self.begun = time.monotonic()
        if not self.most:
            raise _EnoughError

    def advance(self, n: int = 1, **fields: Json) -> None:
        """A step is done."""
        if not n:
            return
        self.ends.append(time.monotonic())
        if len(self.ends) > self.most or (len(self.ends) > 2 and self.ends[-1] - self.begun > self.seconds):
            raise _EnoughError

    def mean(self) -> float:
        """Seconds of a step; the first, which warms up, counts only where it is alone."""
        if len(self.ends) < 2:
            return self.ends[0] - self.begun
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def set_stages(measured: Measured, config: RunConfig, place: Path, seconds: float = 1.5) -> list[Stage]:
    """The stages that make a set of all modalities from heads (and experts): learning or choosing, and judging.

    seconds: how long iterations are tried. Raises what the method raises at once, as InputError for too many rows.
    """
    settings = config.distill
    judging = _judging(measured, config)
    if isinstance(settings, LoopSettings):
        watch = _Stopwatch(seconds, 20)
        before = _rehearse(measured, _unjudged(config), place, watch)
        learning = before + settings.iterations * watch.mean()
        made = Stage("distill", settings.iterations, "iterations", learning, _bytes(measured, config))
        return [made, *judging]
    before = _rehearse(measured, config, place, _Stopwatch(0.0, 0))
    return [Stage("choose rows", settings.num_stored, "rows", before, _bytes(measured, config)), *judging]


def set_of_random_rows(measured: Measured, config: RunConfig) -> DistilledSet:
    """A set of the size, storage and similarity that the settings say; costs what any such set costs to train on."""
    settings, streams = config.distill, Streams(0)
    rows = random_rows(measured.data.train, settings.num_stored, streams["rehearsal"])
    shared = settings.set_similarity.shared_rows(settings.num_stored, settings.num_rows)
    similarity = settings.set_similarity.init(shared, streams["rehearsal"])
    tensors = {f"rows/{name}": x for name, x in settings.resolved_storage.init(rows.features).items()}
    return _task(measured, config, Path()).as_set(
        settings, {**tensors, **{f"similarity/{name}": x for name, x in similarity.items()}}
    )


def step_seconds(measured: Measured, distilled: DistilledSet, num_runs: int) -> float:
    """Seconds of a training step of so many students."""
    width = next(iter(measured.start.values())).shape[0]
    with threads_for(len(distilled), measured.data.train.widths, width):
        students = usual_seconds(
            lambda: next(distilled.students(measured.start, seed=0, num_runs=num_runs, checkpoints=[_FEW_STEPS]))
        )
    return students / _FEW_STEPS


def expert_buffer(measured: Measured, config: RunConfig, place: Path, num_epochs: int) -> ExpertBuffer:
    """A buffer of one expert that saw a few rows: what is read from it costs what it costs."""
    start = Start(measured.start, config.experts.learning_rate or 0.1, num_epochs)
    count = min(len(measured.data.train), 2 * config.experts.batch_size)
    some = measured.data.train.select(torch.arange(count, device="cpu"))
    alone: ExpertsConfig = config.experts.evolve(num_experts=1, num_starts=1, random_starts=0)
    return train_experts([start], some, alone, place, seed=0)


def _rehearse(measured: Measured, config: RunConfig, place: Path, watch: _Stopwatch) -> float:
    """Run the method until the watch has seen enough; seconds before its stage began."""
    settings = config.distill
    rows, scale = _fewer(measured.data.train, config)
    few = replace(measured, data=replace(measured.data, train=rows))
    task = _task(few, config, place, watch)
    if settings.uses_experts:
        epochs = settings.last_expert_epoch or config.experts.num_epochs
        buffer = expert_buffer(few, config, place / "experts", epochs or USUAL_EPOCHS)
        task = replace(task, experts=lambda: buffer)
    begun = time.monotonic()
    with suppress(_EnoughError):
        settings.run(task)
    return scale * (watch.begun - begun)


def _judging(measured: Measured, config: RunConfig) -> list[Stage]:
    settings, distilled = config.distill, set_of_random_rows(measured, config)
    if isinstance(settings, LoopSettings):
        if not settings.validate_every:
            return []
        num_runs = 1 if settings.order == "fixed" else 2
        count = 1 + -(-settings.iterations // settings.validate_every)
        steps = _USUAL_SPANS * settings.num_student_steps
        turns = starts_of_experts(config.experts.num_experts, config.experts.num_starts)
        scores, experts = _USUAL_SCORES * num_runs, turns.count(OWN) if settings.uses_experts else 0
        step = step_seconds(measured, distilled, num_runs)
        seconds = count * (steps * step + scores * measured.score) + experts * measured.score
        return [Stage("judge the set", count, "times", seconds)]
    step = step_seconds(measured, distilled, 2)
    if not isinstance(settings, TunedMethod):
        return []
    choices = doubling_steps(settings.max_steps)
    count = len(settings.learning_rates) * len(getattr(settings, "ridges", (1.0,)))
    steps, judged = count * choices[-1], count * len(choices)
    if isinstance(settings, Select):
        steps, judged = _searched(measured, distilled, settings)
    seconds = steps * step + 2 * judged * measured.score
    return [Stage("choose its recipe", steps, "steps", seconds, usual=True)]


def _searched(measured: Measured, distilled: DistilledSet, settings: Select) -> tuple[int, int]:
    """Steps and scores of the search for a recipe of random rows, over all step sizes."""
    key = f"recipe {settings.evolve(selector=RandomRows())!r}"
    if key not in measured.known:
        choices = doubling_steps(settings.max_steps)
        few = [steps for steps in choices if steps <= _TRIED_STEPS] or choices
        steps = judged = 0
        for rate in settings.learning_rates:
            with suppress(NotFiniteError):
                seen = choose_recipe(distilled, measured.start, measured.data.validation, (rate,), few).num_evaluated
                last = seen if seen < len(few) else len(choices)
                steps, judged = steps + choices[last - 1], judged + last
        measured.known[key] = (steps, judged)
    found: tuple[int, int] = measured.known[key]
    return found


def _unjudged(config: RunConfig) -> RunConfig:
    """The same iterations, without a look at validation that could end them."""
    method: Method = config.distill
    changes: dict[str, object] = {"validate_every": 0}
    outer = getattr(method, "outer", None)
    if isinstance(outer, TrajectoryObjective) and outer.num_expert_epochs is None:
        changes["outer"] = outer.evolve(num_expert_epochs=1)
    return config.evolve(distill=method.evolve(**changes))


def _fewer(train: FeatureSet, config: RunConfig) -> tuple[FeatureSet, float]:
    """Rows to choose from, and how much longer it takes with all: as their number, or its square for those who compare
    every row with every other.
    """
    if isinstance(config.distill, LoopSettings) or len(train) <= _FEW_ROWS:
        return train, 1.0
    power = 2 if isinstance(config.distill, Select) else 1
    return train.select(torch.arange(_FEW_ROWS, device="cpu")), (len(train) / _FEW_ROWS) ** power


def _bytes(measured: Measured, config: RunConfig) -> int:
    """Of the set: rows, similarity and the means that it is centred by."""
    joint = config.evolve(joint=True)
    train = measured.data.train
    return run_bytes(joint, train.widths) + sum(
        mean.numel() * mean.element_size() for mean in train.preprocessing.means.values()
    )


def _no_experts() -> ExpertBuffer:
    raise AssertionError("a method whose settings name no experts asked for them")


def _task(measured: Measured, config: RunConfig, place: Path, watch: SilentProgress | None = None) -> Task:
    progress = watch or SilentProgress()
    return Task(measured.data, measured.start, config.seed, config.experts, place, _no_experts, progress=progress)
