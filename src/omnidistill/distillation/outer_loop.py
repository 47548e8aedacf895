"""The outer loop: learn a synthetic set on which a student, trained by the recipe, does what the outer objective asks.

    repeat:  draw an episode (start heads, target)         outer
             train a student T steps on the set            rollout of the student objective, targets from the similarity
             loss -> gradient of rows, similarity, steps   exact, or TESLA's
             optimiser step                                a number that is not finite: back to a good set, half steps

Any objective, similarity, rollout, optimiser and outer objective; adding one edits nothing here. Random draws come
from named streams, the best set is chosen by a judge that sees validation only, and an interrupted run goes on to the
same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.device import moved
from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.core.interrupts import interrupt_deferred
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.checkpoint import Best, CheckpointIdentity, Course, load_checkpoint, save_checkpoint
from omnidistill.distillation.distilled_set import DistilledSet, as_stored
from omnidistill.distillation.learner import Learner
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.outer.outer_objective import Outer
from omnidistill.distillation.provenance import Provenance
from omnidistill.distillation.set_spec import SetSpec
from omnidistill.io.tracking import (
    JsonlLog,
    MemoryLog,
    MetricsLog,
    MetricsRecord,
    Progress,
    SilentProgress,
    TrackedLog,
    TrackerGroup,
)
from omnidistill.training.recipes import Sgd


@dataclass(frozen=True)
class Verdict:
    """What validation says of a set: its score (higher is better), the number of training steps that reached it, and
    how many numbers of steps were compared.
    """

    score: float
    num_steps: int
    judged: int = 0


@dataclass(frozen=True)
class Distillation:
    """The result of a method. What its user should know is in the provenance of the set, as `notes`.

    Attributes:
        distilled: the set: the best on validation, or the last.
        seconds: time spent, over all parts of an interrupted run.
        records: the metrics log.
        floor: rank floor of the matching loss by modality; None if the experts do not determine it.
    """

    distilled: DistilledSet
    seconds: float
    records: tuple[MetricsRecord, ...] = ()
    floor: Mapping[str, float] | None = None


Judge = Callable[[DistilledSet], Verdict]
Halt = Callable[[int, DistilledSet], str | None]
"""Why it is not worth going on, or None: asked after a validation, of the iterations done and the best set so far."""
CHECKPOINT, METRICS = "checkpoint", "metrics.jsonl"
"""The folder of the checkpoint and the file of the log, in the folder of a run."""
LAST_GOOD = "last-good"
"""Where a run that became NaN or Inf leaves the last set with a finite loss and gradient."""
MAX_RESTARTS = 3
"""How often a run goes back to a good set, with halved steps, before it gives up."""


def distill(
    train: FeatureSet,
    outer: Outer,
    width: int,
    settings: LoopSettings,
    folder: Path | None = None,
    *,
    seed: int,
    initial_set: DistilledSet | None = None,
    judge: Judge | None = None,
    halt: Halt | None = None,
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
    resume: bool = False,
    trackers: Sequence[str] = (),
    progress: Progress | None = None,
) -> Distillation:
    """Learn a set of `settings.size` rows. With a folder, the loop writes metrics.jsonl and checkpoints there.

    Args:
        train: the real training rows (initial rows are drawn from them).
        outer: what a rollout is judged by.
        width: embedding width d of the heads.
        settings: of the outer loop.
        folder: where log and checkpoints are written; None: nowhere, and an interrupted loop cannot be resumed.
        seed: of every random stream.
        initial_set: a set of as many rows to continue from; without one, random training rows.
        judge: scores a set on validation; None, or `validate_every` = 0: the last set is kept.
        halt: ends the run early, with the best set so far.
        notes: what the user should know of this run, one line each; told once.
        provenance: names data, heads, experts and the run's configuration; a checkpoint of another provenance is
            refused, and the set carries it.
        resume: continue from the checkpoint in the folder, if there is one.
        trackers: names of trackers that mirror the log (`io.tracking.trackers`).

    Raises:
        InputError: more rows than training rows; a checkpoint is there and `resume` is False, or it is of another run.
        NotFiniteError: a loss, a gradient or the set became NaN or Inf once more after `MAX_RESTARTS` restarts; the
            last good set is saved before.
        KeyboardInterrupt: passed on after a checkpoint was written.
    """
    learner = Learner(train, outer, width, settings, Streams(seed), initial_set)
    loop = _Loop(
        learner, seed, folder, judge, halt, provenance or Provenance(), tuple(trackers), progress or SilentProgress()
    )
    with threads_for(settings.num_rows, train.widths, width):
        return loop.run(notes, resume)


class _Loop:
    def __init__(
        self,
        learner: Learner,
        seed: int,
        folder: Path | None,
        judge: Judge | None,
        halt: Halt | None,
        provenance: Provenance,
        trackers: tuple[str, ...],
        progress: Progress,
    ) -> None:
        self.learner, self.seed, self.folder, self.judge, self.halt = learner, seed, folder, judge, halt
        self.trackers = trackers
        self.settings = learner.settings
        self.provenance = provenance
        self.identity = CheckpointIdentity.of(self.settings, seed, provenance)
        self.progress = progress
        self.course = Course()

    def run(self, notes: Sequence[str], resume: bool) -> Distillation:
        total = self.settings.iterations
        if self.folder is not None:
            self._open(self.folder, resume)
        course, progress = self.course, self.progress
        started_at = time.monotonic() - course.seconds
        log = MemoryLog() if self.folder is None else JsonlLog(self.folder / METRICS, course.tracker_position)
        with TrackedLog(log, self._group()) as tracker, progress, interrupt_deferred() as interrupted:

            def save() -> None:
                course.tracker_position, course.seconds = tracker.position(), time.monotonic() - started_at
                if self.folder is not None:
                    save_checkpoint(self.folder / CHECKPOINT, self.identity, course, self.learner)

            progress.start(total, f"distill {self.settings.num_stored} rows", course.done)
            saved_at, over = time.monotonic(), False
            if course.done == 0:
                over = self._logged(self._validated(MetricsRecord(0)), notes, tracker)
            while course.done < total and not over:
                try:
                    record = self._validated(self.learner.iterate(course.done))
                except NotFiniteError as error:
                    self._restart(error, tracker)
                    continue
                course.done += 1
                over = self._logged(record, (), tracker)
                progress.advance(1, loss=record.values["loss"])
                if over:  # before anything is saved: a run that is cut off here comes to the same end when resumed
                    break
                if time.monotonic() - saved_at > self.settings.checkpoint_seconds:
                    save()
                    saved_at = time.monotonic()
                if interrupted():
                    save()
                    raise KeyboardInterrupt
        best = course.best
        tensors, iteration = (best.tensors, best.iteration) if best.tensors else (self._product(), course.done)
        result = self._distilled(tensors, iteration, best)
        return Distillation(result, time.monotonic() - started_at, tuple(tracker.records()))

    def _open(self, folder: Path, resume: bool) -> None:
        """Create the folder, or continue from the checkpoint in it."""
        if (folder / CHECKPOINT / "manifest.json").exists():
            if not resume:
                raise InputError(
                    f"{folder}: holds an interrupted run; continue it with {argument('resume', True)}, or choose "
                    "another folder"
                )
            self.course = load_checkpoint(folder / CHECKPOINT, self.identity, self.learner)
        folder.mkdir(parents=True, exist_ok=True)

    def _group(self) -> TrackerGroup:
        settings = self.identity.config
        return TrackerGroup(self.trackers, self.folder, settings, self.progress.note)

    def _validated(self, record: MetricsRecord) -> MetricsRecord:
        """Return the record with the validation score of the current set, if validation is due."""
        iteration, every = record.iteration or 0, self.settings.validate_every
        due = every and (iteration % every == 0 or iteration == self.settings.iterations)
        if self.judge is None or not due:
            return record
        verdict = self.judge(self._distilled(self._product(), iteration))
        self.course.best.offer(verdict.score, iteration, verdict.num_steps, self.learner)
        scores = {"validation": verdict.score, "validation_steps": verdict.num_steps, "judged": verdict.judged}
        return replace(record, values={**record.values, **scores})

    def _logged(self, record: MetricsRecord, notes: Sequence[str], tracker: MetricsLog) -> bool:
        """Log the record with its notes; return whether the run ends early."""
        best, reason, iteration = self.course.best, None, record.iteration or 0
        if self.halt and "validation" in record.values and best.num_steps:
            reason = self.halt(iteration, self._distilled(best.tensors, best.iteration, best))
        if reason:
            after = f"{iteration} of {self.settings.iterations} iterations"
            notes = [*notes, f"{reason}; ended after {after} with the set of iteration {best.iteration}"]
        self._note(record, notes, tracker)
        return reason is not None

    def _note(self, record: MetricsRecord, notes: Sequence[str], tracker: MetricsLog) -> None:
        tracker.log(replace(record, notes=tuple(notes)))
        self.course.notes.extend(notes)
        for note in notes:
            self.progress.note(note)

    def _restart(self, error: NotFiniteError, tracker: MetricsLog) -> None:
        """Go back to the best validated set, or else to the last with a finite loss and gradient; give up when that
        was done often enough.
        """
        learner, iteration = self.learner, self.course.done + 1
        if learner.restarts == MAX_RESTARTS:
            last, kept = learner.last_good, ""
            if self.folder is not None:
                self._distilled(last.tensors, last.iteration).save(self.folder / LAST_GOOD)
                kept = f"the last set that trained a student is kept in {self.folder / LAST_GOOD}; "
            raise NotFiniteError(
                f"distill: {error} in iteration {iteration}, after {MAX_RESTARTS} restarts with halved steps; {kept}"
                "lower the learning rates or the step sizes"
            ) from error
        good = self.course.best.good() or learner.last_good
        learner.go_back(good)
        note = f"iteration {iteration}: {error}; back to the set of iteration {good.iteration} with halved steps"
        values = {"restarts": learner.restarts, "rate_factor": learner.rate_factor}
        self._note(MetricsRecord(iteration, values), [note], tracker)

    def _product(self) -> dict[str, Tensor]:
        return self.learner.learnable.product()

    def _distilled(self, tensors: Mapping[str, Tensor], iteration: int, best: Best | None = None) -> DistilledSet:
        learner = self.learner
        tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        sizes = tuple(tensors.pop("log_step_sizes").exp().tolist())
        settings = self.settings
        num_steps = best.num_steps if best and best.num_steps else settings.num_student_steps
        order = self.seed if settings.order == "fixed" else None
        spec = SetSpec(
            {name: matrix.shape[1] for name, matrix in learner.initial.features.items()},
            settings.num_stored,
            learner.storage,
            settings.similarity,
            settings.student,
            Sgd(step_sizes=sizes, num_steps=num_steps, batch_size=settings.batch, order=order),
        )
        provenance = replace(
            self.provenance,
            initial_ids=learner.initial_ids,
            iteration=iteration,
            validation=best.score if best and best.tensors else None,
            notes=tuple(self.course.notes),
        )
        stored = moved(as_stored(learner.storage, tensors), "cpu")
        return DistilledSet(stored, spec, learner.initial.preprocessing, provenance)
