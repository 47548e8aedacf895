"""Synthetic rows learned by the outer loop. Most published methods are special cases of this method.

The loop learns the rows, their target similarities and the step sizes. It minimises the outer objective, a loss of the
student that is trained on the rows. There are settings for student, experts, similarity, outer objective and rollout
(how to differentiate through the training of the student). Particular settings give the methods of Cazenavette et al.
2022 (MTT), Wu et al. 2024 (MTT-VL), Xu et al. 2024 (LoRS), Zhang et al. 2025 (RepBlend), Gao et al. 2026 (HoPA, eq. 7)
and Guo et al. 2026 (PTM-ST).

The result is the set with the best validation score. If there are fewer than 20 validation groups, this score is too
uncertain. The result is then the last set, and students train on it for as many steps as in the outer loop.

By default, the loop stops early if further iterations are unlikely to help:

    with experts       before the first iteration, if the experts bring no gain
    without experts    after at least a third of the iterations, if students of the best set so far bring no gain

The gain is the increase of the validation score over the initial heads (see `evaluation.gain`). It is tested only at
validations, so without validation the loop does not stop early.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from omnidistill.distillation import Distillation, DistilledSet, distill
from omnidistill.distillation.loop_settings import LoopSettings
from omnidistill.distillation.outer import AnyOuter, Material, TrajectoryObjective
from omnidistill.evaluation.gain import experts_gain_nothing, students_gain_nothing
from omnidistill.evaluation.validation import can_choose, doubt, validate_set
from omnidistill.methods.inferred_settings import infer_settings
from omnidistill.methods.method import Method, methods
from omnidistill.methods.task import Task
from omnidistill.training.experts import ExpertBuffer


@methods.register("learn")
class Learn(LoopSettings, Method):
    """Learns synthetic rows by differentiating a loss (the outer objective) through the training of a student."""

    has_iterations: ClassVar[bool] = True
    added: ClassVar[tuple[str, ...]] = (*LoopSettings.added, "stop_without_gain")

    stop_without_gain: bool = True
    """Whether the outer loop stops early if experts, or students trained on the set, are no better than their initial
    heads. It is false in published settings, which have a fixed number of iterations."""
    outer: AnyOuter = TrajectoryObjective()
    """Loss that the synthetic rows are learned to minimise: trajectory matching, or the loss of the trained student on
    real rows."""

    @property
    def uses_experts(self) -> bool:
        """Whether the outer objective uses expert trajectories."""
        return self.outer.uses_experts

    @property
    def last_expert_epoch(self) -> int:
        """Minimum number of epochs for which every expert must be trained."""
        return self.outer.last_epoch

    @property
    def expert_span(self) -> int | None:
        """Number of expert epochs that a student must reproduce. None means all epochs of an expert."""
        return self.outer.span

    def run(self, task: Task) -> Distillation:
        """Learn the rows. With trajectory matching, also compute a lower bound on the matching loss (rank floor)."""
        buffer = task.experts() if self.uses_experts else None
        if buffer is not None:
            task = task.with_experts(buffer)
        settings, task = infer_settings(self, task, buffer)
        material = Material(task.development.train, task.start, settings.iterations, buffer)
        floor = None
        if isinstance(self.outer, TrajectoryObjective):
            rank = min(settings.num_rows, settings.num_student_steps * settings.batch)
            floor = self.outer.matching(material).floor(rank)
        validation, notes = task.development.validation, []
        chosen = can_choose(validation)
        if settings.validate_every and (doubtful := doubt(validation)):
            last = f"the last set is the result, with the {settings.num_student_steps} steps used for learning it"
            notes.append(f"{doubtful}; {'the set with the best score may just be the luckiest' if chosen else last}")

        def stop_criterion(done: int, best: DistilledSet) -> str | None:
            return _nothing_to_gain(done, best, task, settings, buffer)

        result = distill(
            task.development.train,
            self.outer.bind(material),
            task.width,
            settings,
            task.folder,
            seed=task.seed,
            initial_set=task.initial_set,
            validate=(lambda distilled: validate_set(distilled, task.start, validation, settings.num_student_steps))
            if chosen
            else None,
            stop_criterion=stop_criterion if self.stop_without_gain else None,
            notes=notes,
            provenance=task.provenance,
            resume=task.resume,
            trackers=task.trackers,
            progress=task.progress,
        )
        return replace(result, floor=floor)


def _nothing_to_gain(
    done: int, best: DistilledSet, task: Task, settings: LoopSettings, buffer: ExpertBuffer | None
) -> str | None:
    """Return the reason to stop the outer loop early, or None if it should continue."""
    if buffer is not None:
        return None if done else experts_gain_nothing(buffer, task.start, task.development.validation)
    if done < settings.iterations / 3:
        return None
    return students_gain_nothing(best, task.start, task.development.validation)
