"""The outer loop: learn a synthetic set on which a student, trained by the recipe, does what the outer objective asks.

    repeat:  draw an episode (start heads, target)         outer
             train a student T steps on the set            rollout of the student objective, targets from the similarity
             loss -> gradient of rows, similarity, steps   exact, or TESLA's
             optimiser step

Any objective, similarity, rollout, optimiser and outer objective; adding one edits nothing here. Random draws come
from named streams, the best set is chosen by a judge that sees validation only, and an interrupted run goes on to the
same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnidistill.config import LearnedConfig, RunConfig
from omnidistill.distill.checkpoint import Best, load_checkpoint, save_checkpoint
from omnidistill.distill.distilled import DistilledSet, Recipe, as_stored
from omnidistill.distill.interrupt import interrupt_deferred
from omnidistill.distill.learnable import Learnable, random_rows
from omnidistill.distill.outer import Outer
from omnidistill.distill.threads import threads_for
from omnidistill.errors import InputError, NotFiniteError
from omnidistill.features.featureset import FeatureSet
from omnidistill.objectives import objective_from
from omnidistill.parametrisation import parametrisation_from
from omnidistill.randomness import Streams
from omnidistill.rollout import Blend, Rollout, rollout_named
from omnidistill.rollout.students import draw_batches
from omnidistill.similarity import similarity_from
from omnidistill.tracking import JsonlTracker, Progress, SilentProgress


@dataclass(frozen=True)
class Verdict:
    """What validation says of a set: its score (higher is better) and the number of training steps that reached it."""

    score: float
    num_steps: int


@dataclass(frozen=True)
class Distillation:
    """What a run made: the set (the best on validation, or the last), and the seconds it took over all its parts."""

    distilled: DistilledSet
    seconds: float


Judge = Callable[[DistilledSet], Verdict]
LAST_GOOD = "last-good"
"""Where a run that became NaN or Inf leaves the last set that trained a student."""


def distill(
    train: FeatureSet,
    outer: Outer,
    width: int,
    config: RunConfig,
    folder: Path,
    *,
    judge: Judge | None = None,
    identity: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    on_iteration: Callable[[int], None] | None = None,
) -> Distillation:
    """Learn a set of `config.distill.size` rows; writes FOLDER/distilled, metrics.jsonl and checkpoints.

    Args:
        train: the real training rows (initial rows are drawn from them).
        outer: what a rollout is judged by.
        width: embedding width d of the heads.
        judge: scores a set on validation; None, or `validate_every` = 0: the last set is kept.
        identity: names data, heads and experts; a checkpoint of another identity is refused, and the set carries it
            as provenance.
        resume: continue from the checkpoint in the folder, if there is one.
        on_iteration: called after each iteration (tests interrupt here).

    Raises:
        InputError: more rows than training rows; a checkpoint is there and `resume` is False, or it is of another run.
        NotFiniteError: loss or gradient became NaN or Inf; the last good set is saved before.
        KeyboardInterrupt: passed on after a checkpoint was written.
    """
    loop = _Loop(train, outer, width, config, folder, judge, dict(identity or {}))
    with threads_for(config.distill.num_rows, train.widths, width):
        return loop.run(resume, progress or SilentProgress(), on_iteration)


class _Loop:
    def __init__(
        self,
        train: FeatureSet,
        outer: Outer,
        width: int,
        config: RunConfig,
        folder: Path,
        judge: Judge | None,
        identity: dict[str, Any],
    ) -> None:
        if not isinstance(config.distill, LearnedConfig):
            raise InputError(f"distill.kind = {config.distill.kind}: has no outer loop; use kind = trajectory or task")
        self.outer, self.config, self.folder, self.judge = outer, config, folder, judge
        self.settings = config.distill
        self.identity = {"config": config.model_dump(mode="json", exclude={"evaluate"}), "provenance": identity}
        self.modalities = train.modalities
        self.streams = Streams(config.seed)
        self.initial = random_rows(train, self.settings.size, self.streams["initial rows"])
        self.parametrisation = parametrisation_from(self.settings.storage)
        self.learnable = Learnable.begin(self.initial, self.settings, self.parametrisation, self.streams)
        self.optimiser = self.learnable.optimiser(self.settings.optimiser)
        self.last_good: tuple[dict[str, Tensor], int] = (self.learnable.copy(), 0)  # a student was trained on it
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.objective = objective_from(self.settings.student, self.modalities)
        self.similarity = similarity_from(self.settings.similarity)
        self.rollout: Rollout = rollout_named(
            self.settings.rollout,
            num_rows=self.settings.num_rows,
            num_steps=self.settings.num_student_steps,
            batch_size=self.settings.batch,
            widths=train.widths,
            width=width,
        )

    def run(self, resume: bool, progress: Progress, on_iteration: Callable[[int], None] | None) -> Distillation:
        checkpoint = self.folder / "checkpoint"
        done, best, position, seconds = 0, Best(), None, 0.0
        if (checkpoint / "manifest.json").exists():
            if not resume:
                raise InputError(
                    f"{self.folder}: holds an interrupted run; continue it with --resume, or choose another folder"
                )
            done, best, position, seconds = load_checkpoint(
                checkpoint, self.identity, self.learnable, self.optimiser, self.streams
            )
        begun = time.monotonic() - seconds
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            JsonlTracker(self.folder / "metrics.jsonl", position) as tracker,
            progress,
            interrupt_deferred() as interrupted,
        ):

            def save() -> None:
                save_checkpoint(
                    checkpoint,
                    self.identity,
                    done,
                    self.learnable,
                    self.optimiser,
                    self.streams,
                    best,
                    tracker.position(),
                    time.monotonic() - begun,
                )

            progress.start(self.settings.iterations, f"distill {self.settings.size} rows", done)
            saved = time.monotonic()
            if done == 0:
                tracker.log(self._validated({"iteration": 0}, 0, best))
            try:
                while done < self.settings.iterations:
                    record = self._iterate(done)
                    done += 1
                    tracker.log(self._validated(record, done, best))
                    progress.advance(1, loss=record["loss"])
                    if time.monotonic() - saved > self.settings.checkpoint_seconds:
                        save()
                        saved = time.monotonic()
                    try:
                        if on_iteration:
                            on_iteration(done)
                        if interrupted():
                            raise KeyboardInterrupt
                    except KeyboardInterrupt:
                        save()
                        raise
                self._require_finite_set(done)
            except NotFiniteError:
                self._distilled(*self.last_good).save(self.folder / LAST_GOOD)
                raise
        tensors, iteration = (best.tensors, best.iteration) if best.tensors else (self.learnable.product(), done)
        result = self._distilled(tensors, iteration, best)
        result.save(self.folder / "distilled")
        return Distillation(result, time.monotonic() - begun)

    def _iterate(self, iteration: int) -> dict[str, Any]:
        settings, learnable = self.settings, self.learnable
        episode = self.outer.episode(iteration, self.streams)
        batches = draw_batches(settings.num_rows, settings.batch, settings.num_student_steps, self.streams["batches"])
        endpoint = self.rollout(
            self.objective,
            episode.start,
            self.parametrisation.expand(learnable.rows),
            self.similarity.targets(learnable.similarity, batches),
            batches,
            learnable.log_step_sizes.exp(),
            blend=self._blend(),
        )
        losses = self.outer.loss(endpoint, episode)
        self._require_finite(losses, [f"loss '{name}'" for name in self.outer.terms], iteration)
        self.last_good = learnable.copy(), iteration
        self.optimiser.zero_grad(set_to_none=True)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self._step(iteration)
        record: dict[str, Any] = {"iteration": iteration + 1, "loss": float(losses.detach().sum())}
        record |= {f"loss/{name}": float(value) for name, value in zip(self.outer.terms, losses.detach(), strict=True)}
        sizes = learnable.log_step_sizes.detach().exp()
        self._require_finite(sizes, [f"step size of '{name}'" for name in self.modalities], iteration)
        return record | {f"step_size/{name}": float(value) for name, value in zip(self.modalities, sizes, strict=True)}

    def _blend(self) -> Blend | None:
        settings = self.settings
        if not settings.blend:
            return None
        return Blend.draw(settings.num_student_steps, settings.batch, self.streams["blend"])

    def _step(self, iteration: int) -> None:
        self._require_finite(*_norms("gradient", {n: leaf.grad for n, leaf in self._leaves().items()}), iteration)
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.learnable.rows.values()), self.settings.clip_norm)
        factor = 1.0
        if self.settings.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * iteration / self.settings.iterations))
        for group, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.step()
        self.learnable.follow(self.settings.average)

    def _validated(self, record: dict[str, Any], iteration: int, best: Best) -> dict[str, Any]:
        every = self.settings.validate_every
        due = every and (iteration % every == 0 or iteration == self.settings.iterations)
        if self.judge is None or not due:
            return record
        verdict = self.judge(self._distilled(self.learnable.product(), iteration))
        best.offer(verdict.score, iteration, verdict.num_steps, self.learnable)
        return {**record, "validation": verdict.score, "validation_steps": verdict.num_steps}

    def _distilled(self, tensors: Mapping[str, Tensor], iteration: int, best: Best | None = None) -> DistilledSet:
        tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        sizes = tuple(tensors.pop("log_step_sizes").exp().tolist())
        num_steps = best.num_steps if best and best.num_steps else self.settings.num_student_steps
        provenance = {**self.identity["provenance"], "iteration": iteration}
        if best and best.tensors:
            provenance["validation"] = best.score
        return DistilledSet(
            as_stored(self.parametrisation, tensors),
            self.modalities,
            Recipe(sizes, num_steps, self.settings.batch),
            self.config,
            self.initial.preprocessing,
            provenance,
            self.initial.ids,
        )

    def _leaves(self) -> dict[str, Tensor]:
        """Every learned tensor by the name an error gives it; step sizes one by one are in the record."""
        learnable = self.learnable
        return {
            **{f"the rows of '{name}'": leaf for name, leaf in learnable.rows.items()},
            **{f"the similarity ({name})": leaf for name, leaf in learnable.similarity.items()},
            "the step sizes": learnable.log_step_sizes,
        }

    def _require_finite_set(self, done: int) -> None:
        """The last update has no iteration after it that would tell."""
        self._require_finite(*_norms("set", self._leaves()), done - 1)

    def _require_finite(self, values: Tensor, names: Sequence[str], iteration: int) -> None:
        finite = torch.isfinite(values.detach())
        if not bool(finite.all()):
            raise NotFiniteError(
                f"distill: {names[int((~finite).nonzero()[0])]} is NaN or Inf in iteration {iteration + 1}; "
                f"the last set that trained a student is kept in {self.folder / LAST_GOOD}; "
                "lower the learning rates or the step sizes"
            )


def _norms(what: str, tensors: Mapping[str, Tensor | None]) -> tuple[Tensor, list[str]]:
    """One norm a tensor, so that all are checked at once."""
    found = {f"{what} of {name}": tensor for name, tensor in tensors.items() if tensor is not None}
    return torch.stack([torch.linalg.vector_norm(tensor.detach()) for tensor in found.values()]), list(found)
