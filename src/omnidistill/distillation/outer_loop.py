"""The outer loop: learn a synthetic set so that a student trained on it minimises the outer objective.

Each iteration consists of four steps:

    1. The outer objective draws a target, and the initial heads of a student.
    2. The student takes T steps on the set. These steps (the rollout) are differentiable.
    3. The loss and its gradient with respect to rows, target similarities and step sizes are computed.
    4. The optimiser takes a step.

If a number is NaN or Inf, the loop restarts from an earlier set. The best set is chosen on the validation split only.
Random numbers come from named streams. A run that is interrupted and resumed gives bitwise the same result as a run
without interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.core.interrupts import interrupt_deferred
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation.checkpoint import (
    Best,
    CheckpointIdentity,
    LoopState,
    load_checkpoint,
    open_log,
    save_checkpoint,
)
from omnidistill.distillation.distilled_set import DistilledSet
from omnidistill.distillation.learned_set import learned_set
from omnidistill.distillation.learner import Learner
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.method_result import Distillation
from omnidistill.distillation.outer.outer_objective import Outer
from omnidistill.distillation.provenance import Provenance
from omnidistill.io.tracking import (
    MemoryLog,
    MetricsLog,
    MetricsRecord,
    Progress,
    SilentProgress,
    TrackedLog,
    TrackerGroup,
)


@dataclass(frozen=True)
class ValidationResult:
    """The validation score of a synthetic set.

    Attributes:
        score: the best score of students trained on the set; higher is better.
        num_steps: number of training steps that gives this score; 0 if all students diverged.
        num_evaluated: how many different numbers of training steps were evaluated to find the best one.
    """

    score: float
    num_steps: int
    num_evaluated: int = 0


Validator = Callable[[DistilledSet], ValidationResult]
"""Scores a set on the validation split."""
StopCriterion = Callable[[int, DistilledSet], str | None]
"""Called after each validation with the number of finished iterations and the best set so far; returns the reason to
stop the loop, or None to continue."""
CHECKPOINT, METRICS = "checkpoint", "metrics.jsonl"
"""Names of the checkpoint folder and of the log file in the folder of a run."""
LAST_GOOD = "last-good"
"""Name of the folder in which a run that fails with NaN or Inf saves the last set with a finite loss and gradient."""
MAX_RESTARTS = 3
"""Maximum number of restarts from a finite set, each with halved step sizes."""


def distill(
    train: FeatureSet,
    outer: Outer,
    width: int,
    settings: LoopSettings,
    folder: Path | None = None,
    *,
    seed: int,
    initial_set: DistilledSet | None = None,
    validate: Validator | None = None,
    stop_criterion: StopCriterion | None = None,
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
    resume: bool = False,
    trackers: Sequence[str] = (),
    progress: Progress | None = None,
) -> Distillation:
    """Learn a set of `settings.size` rows. With a folder, the loop writes metrics.jsonl and checkpoints there.

    Args:
        train: the real training rows.
        outer: the outer objective, which computes the loss of a trained student.
        width: embedding width d of the heads.
        settings: settings of the outer loop.
        folder: folder for the log and the checkpoints. None writes nothing, so the loop cannot be resumed.
        seed: seed for all random streams.
        initial_set: set to continue from, with the same number of rows. None starts from random training rows.
        validate: function that scores a set on the validation split. The best set is returned. Without `validate`, or
            if `validate_every` is 0, the last set is returned.
        stop_criterion: function that may end the loop early.
        notes: notes for the user, one line each. They are shown once, when the loop starts.
        provenance: data, heads, experts and configuration of the run, which are stored with the set. A checkpoint with
            a different provenance cannot be resumed.
        resume: whether to continue from the checkpoint in the folder, if there is one.
        trackers: names of the trackers that also record the log (`io.tracking.trackers`).
        progress: reports progress to the user.

    Raises:
        InputError: the set has more rows than the training data. Or the folder has a checkpoint, but `resume` is False
            or the checkpoint belongs to a different run.
        NotFiniteError: a loss, a gradient or the set became NaN or Inf again after `MAX_RESTARTS` restarts. If there
            is a folder, the last set with finite numbers was saved in it.
        KeyboardInterrupt: the user pressed Ctrl-C, or the process received SIGTERM or SIGHUP. If there is a folder, a
            checkpoint was written to it, unless a second signal followed.
    """
    learner = Learner(train, outer, width, settings, Streams(seed), initial_set)
    provenance, progress = provenance or Provenance(), progress or SilentProgress()
    loop = _Loop(learner, seed, folder, validate, stop_criterion, provenance, tuple(trackers), progress)
    with threads_for(settings.num_rows, train.widths, width):
        return loop.run(notes, resume)


class _Loop:
    def __init__(
        self,
        learner: Learner,
        seed: int,
        folder: Path | None,
        validate: Validator | None,
        stop_criterion: StopCriterion | None,
        provenance: Provenance,
        trackers: tuple[str, ...],
        progress: Progress,
    ) -> None:
        self.learner, self.seed, self.folder = learner, seed, folder
        self.validate, self.stop_criterion = validate, stop_criterion
        self.trackers = trackers
        self.settings = learner.settings
        self.provenance = provenance
        self.identity = CheckpointIdentity.of(self.settings, seed, provenance)
        self.progress = progress
        self.state = LoopState()

    def run(self, notes: Sequence[str], resume: bool) -> Distillation:
        total = self.settings.iterations
        if self.folder is not None:
            self._open(self.folder, resume)
        state, progress = self.state, self.progress
        started_at = time.monotonic() - state.seconds
        log = MemoryLog() if self.folder is None else open_log(self.folder / METRICS, state, self.folder / CHECKPOINT)
        with TrackedLog(log, self._group()) as tracker, progress, interrupt_deferred() as interrupted:

            def save() -> None:
                state.tracker_position, state.seconds = tracker.position(), time.monotonic() - started_at
                if self.folder is not None:
                    save_checkpoint(self.folder / CHECKPOINT, self.identity, state, self.learner)

            progress.start(total, f"distill {self.settings.num_stored} rows", state.iteration, state.seconds)
            saved_at, over = time.monotonic(), False
            if state.iteration == 0:
                over = self._logged(self._validated(MetricsRecord(0)), notes, tracker)
            while state.iteration < total and not over:
                try:
                    record = self._validated(self.learner.iterate(state.iteration))
                except NotFiniteError as error:
                    self._restart(error, tracker)
                    continue
                state.iteration += 1
                over = self._logged(record, (), tracker)
                progress.advance(1, loss=record.values["loss"])
                if over:  # no checkpoint is needed: a run that is killed here resumes earlier and ends in the same way
                    break
                if time.monotonic() - saved_at > self.settings.checkpoint_seconds:
                    save()
                    saved_at = time.monotonic()
                if (stop := interrupted.signal()) is not None:
                    save()
                    raise stop
            interrupted.finished = True
        best = state.best
        tensors, iteration = (best.tensors, best.iteration) if best.tensors else (self._result(), state.iteration)
        result = self._distilled(tensors, iteration, best)
        return Distillation(result, time.monotonic() - started_at, tuple(tracker.records()))

    def _open(self, folder: Path, resume: bool) -> None:
        """Create the folder of the run, or load the checkpoint in it so that the run continues from there."""
        if (folder / CHECKPOINT / "manifest.json").exists():
            if not resume:
                raise InputError(
                    f"{folder}: contains an interrupted run; resume it with {argument('resume', True)}, or choose "
                    "another folder"
                )
            self.state = load_checkpoint(folder / CHECKPOINT, self.identity, self.learner)
        folder.mkdir(parents=True, exist_ok=True)

    def _group(self) -> TrackerGroup:
        settings = self.identity.config
        return TrackerGroup(self.trackers, self.folder, settings, self.progress.note)

    def _validated(self, record: MetricsRecord) -> MetricsRecord:
        """Return the metrics record of an iteration. Add the validation score of the set if a validation is due."""
        iteration, every = record.iteration or 0, self.settings.validate_every
        due = every and (iteration % every == 0 or iteration == self.settings.iterations)
        if self.validate is None or not due:
            return record
        result = self.validate(self._distilled(self._result(), iteration))
        self.state.best.offer(result.score, iteration, result.num_steps, self.learner)
        scores = {"validation": result.score, "validation_steps": result.num_steps, "judged": result.num_evaluated}
        best = {"best_iteration": self.state.best.iteration}
        return replace(record, values={**record.values, **scores, **best})

    def _logged(self, record: MetricsRecord, notes: Sequence[str], tracker: MetricsLog) -> bool:
        """Log the metrics record of an iteration with its notes, and return whether the loop must stop early."""
        best, reason = self.state.best, self._reason_to_stop(record)
        if reason:
            after = f"{record.iteration} of {self.settings.iterations} iterations"
            notes = [*notes, f"{reason}; stopped after {after}, with the set from iteration {best.iteration}"]
        self._note(record, notes, tracker)
        return reason is not None

    def _reason_to_stop(self, record: MetricsRecord) -> str | None:
        """Return the reason to stop the loop, or None to continue.

        After a validation, the loop stops if the stop criterion gives a reason, or if the last `patience` validations
        gave no better score. The decision depends only on the number of the iteration and the best set so far. A
        checkpoint stores both, so a resumed run stops at the same iteration as a run without interruption.
        """
        best, iteration, settings = self.state.best, record.iteration or 0, self.settings
        if "validation" not in record.values or not best.num_steps:
            return None
        if self.stop_criterion:
            reason = self.stop_criterion(iteration, self._distilled(best.tensors, best.iteration, best))
            if reason:
                return reason
        stalled = (iteration - best.iteration) // settings.validate_every
        if settings.patience and stalled >= settings.patience and iteration < settings.iterations:
            return f"no better validation score in {stalled} validations"
        return None

    def _note(self, record: MetricsRecord, notes: Sequence[str], tracker: MetricsLog) -> None:
        tracker.log(replace(record, notes=tuple(notes)))
        self.state.notes.extend(notes)
        for note in notes:
            self.progress.note(note)

    def _restart(self, error: NotFiniteError, tracker: MetricsLog) -> None:
        """Restart the outer loop from the set with the best validation score so far.

        If there is no such set, restart from the last set with a finite loss and gradient.

        Raises:
            NotFiniteError: the loop has already restarted `MAX_RESTARTS` times.
        """
        learner, iteration = self.learner, self.state.iteration + 1
        if learner.restarts == MAX_RESTARTS:
            last, where = learner.last_good, ""
            if self.folder is not None:
                self._distilled(last.tensors, last.iteration).save(self.folder / LAST_GOOD)
                where = f"the last set with finite numbers is saved in {self.folder / LAST_GOOD}; "
            raise NotFiniteError(
                f"distill: {error} in iteration {iteration}, after {MAX_RESTARTS} restarts with halved step sizes; "
                f"{where}use smaller learning rates or step sizes"
            ) from error
        restart_point = self.state.best.restart_point() or learner.last_good
        learner.restart_from(restart_point)
        origin = f"the set from iteration {restart_point.iteration}"
        note = f"iteration {iteration}: {error}; restarted from {origin} with halved step sizes"
        values = {"restarts": learner.restarts, "rate_factor": learner.rate_factor}
        self._note(MetricsRecord(iteration, values), [note], tracker)

    def _result(self) -> dict[str, Tensor]:
        return self.learner.learnable.result()

    def _distilled(self, tensors: Mapping[str, Tensor], iteration: int, best: Best | None = None) -> DistilledSet:
        num_steps = best.num_steps if best and best.num_steps else self.settings.num_student_steps
        provenance = replace(
            self.provenance,
            initial_ids=self.learner.initial_ids,
            iteration=iteration,
            validation=best.score if best and best.tensors else None,
            notes=tuple(self.state.notes),
        )
        return learned_set(self.learner, tensors, num_steps, self.seed, provenance)
