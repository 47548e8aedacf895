"""The contract suite of methods accepts what is right and names what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.distill import Distillation, DistilledSet
from omnidistill.experiments.config import RunConfig
from omnidistill.methods import Task, choose_rows
from omnidistill.testing import check_method


@dataclass(frozen=True)
class BrokenMethod:
    """Random rows, with one promise broken."""

    how: str

    def __call__(self, task: Task) -> Distillation:
        settings, train = task.config.distill, task.development.train
        task = self.given(task)
        made = choose_rows(task)
        wrong = self.changed(made.distilled, task)
        if self.how == "not saved":
            (task.folder / "distilled" / "manifest.json").unlink()
        elif self.how != "another saved" and settings.size <= len(train):
            wrong.save(task.folder / "distilled")
        return replace(made, distilled=wrong, seconds=-1.0 if self.how == "time runs back" else made.seconds)

    def given(self, task: Task) -> Task:
        settings, train = task.config.distill, task.development.train
        match self.how:
            case "one row short":
                return replace(task, config=resized(task, settings.size - 1))
            case "no more than there are":
                return replace(task, config=resized(task, min(settings.size, len(train))))
            case "other settings":
                return replace(task, config=task.config.evolve(method="another"))
            case "provenance lost":
                return replace(task, provenance={})
            case "global randomness":
                torch.rand(1)
            case "rows in place":
                train.features["b"][3] *= 2
            case "start in place":
                task.start["a"].zero_()
        return task

    def changed(self, made: DistilledSet, task: Task) -> DistilledSet:
        noise = torch.Generator()
        match self.how:
            case "other modalities":
                return replace(made, modalities=made.modalities[::-1])
            case "not finite":
                return replace(made, tensors={**made.tensors, "rows/b": made.tensors["rows/b"] * torch.nan})
            case "own randomness":
                noise.seed()
                return replace(made, tensors={**made.tensors, "rows/a": torch.randn(10, 12, generator=noise)})
            case "another saved":
                return replace(made, tensors={**made.tensors, "rows/a": made.tensors["rows/a"] + 1})
            case "ids of validation":
                return replace(made, initial_ids=task.development.validation.ids[:10])
            case "no step":
                return made.with_steps(0)
            case "a step size too few":
                return replace(made, recipe=replace(made.recipe, step_sizes=(0.1, 0.1)))
            case "students diverge":
                return replace(made, recipe=replace(made.recipe, step_sizes=(3e38,) * 3, num_steps=8))
        return made


def resized(task: Task, size: int) -> RunConfig:
    return task.config.model_copy(update={"distill": task.config.distill.evolve(size=size)})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("one row short", r"run 'first': rows of 'a' are \(9, 12\), not \(10, 12\)"),
        ("no more than there are", r"run 'many rows': rows of 'a' are \(64, 12\), not \(65, 12\)"),
        ("other modalities", r"modalities are \('c', 'b', 'a'\)"),
        ("not finite", "rows of 'b' contain NaN or Inf"),
        ("not saved", "did not save a set in FOLDER/distilled"),
        ("another saved", "not the one returned, in 'rows/a'"),
        ("own randomness", "two runs with the same seed differ in 'rows/a'"),
        ("global randomness", "used torch's global random state"),
        ("rows in place", "modified the train rows of 'b' in place"),
        ("start in place", "modified the start of 'a' in place"),
        ("ids of validation", "id .* is not that of a training row"),
        ("no step", "the recipe has 0 steps"),
        ("a step size too few", "a positive one for each modality"),
        ("students diverge", "a student's head of 'a' contains NaN or Inf"),
        ("other settings", "other settings than the task's"),
        ("provenance lost", r"provenance \['data'\] of the task is lost"),
        ("time runs back", "took -1.0 seconds"),
    ],
)
def test_a_broken_method_is_named(how: str, message: str, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    with pytest.raises(AssertionError, match=f"method 'random choice' with 3 modalities.*{message}"):
        check_method(BrokenMethod(how), without_experts(task_of(tmp_path, tiny("random"))))
    torch.set_rng_state(state)


def test_a_method_of_someone_else_passes(tmp_path: Path) -> None:
    check_method(BrokenMethod("not at all"), task_of(tmp_path, tiny("random")))
