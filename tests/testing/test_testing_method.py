"""The contract check of methods passes correct ones and names what a broken one does wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.distillation import Distillation, DistilledSet, Provenance
from omnidistill.methods import Task
from omnidistill.methods.select import Select
from omnidistill.models.objectives import Hopa
from omnidistill.testing import check_method


class BrokenMethod(Select):
    """Random rows with one violated requirement."""

    how: str

    def run(self, task: Task) -> Distillation:
        task = self.given(task)
        made = Select.run(self.resized(len(task.development.train)), task)
        wrong = self.changed(made.distilled, task)
        return replace(made, distilled=wrong, seconds=-1.0 if self.how == "negative time" else made.seconds)

    def resized(self, available: int) -> BrokenMethod:
        match self.how:
            case "one row short":
                return self.evolve(size=self.num_stored - 1)
            case "at most all rows":
                return self.evolve(size=min(self.num_stored, available))
        return self

    def given(self, task: Task) -> Task:
        train = task.development.train
        match self.how:
            case "provenance lost":
                return replace(task, provenance=Provenance())
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
                modalities = {name: made.spec.modalities[name] for name in made.modalities[::-1]}
                return replace(made, spec=replace(made.spec, modalities=modalities))
            case "not finite":
                return replace(made, tensors={**made.tensors, "rows/b": made.tensors["rows/b"] * torch.nan})
            case "own randomness":
                noise.seed()
                return replace(made, tensors={**made.tensors, "rows/a": torch.randn(10, 12, generator=noise)})
            case "ids of validation":
                ids = task.development.validation.ids[:10]
                return replace(made, provenance=replace(made.provenance, initial_ids=ids))
            case "another objective":
                return replace(made, spec=replace(made.spec, objective=Hopa()))
            case "no step":
                return made.with_steps(0)
            case "a step size too few":
                return made.with_recipe(made.recipe.evolve(step_sizes=(0.1, 0.1)))
            case "students diverge":
                return made.with_recipe(made.recipe.evolve(step_sizes=(3e38,) * 3, num_steps=8))
        return made


def broken(how: str) -> BrokenMethod:
    """Return the broken method with the settings of tiny random rows."""
    return BrokenMethod(how=how, **dict(tiny("random").distill))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("one row short", r"run 'first': rows of 'a' have shape \(9, 12\), not \(10, 12\)"),
        ("at most all rows", r"run 'many rows': rows of 'a' have shape \(64, 12\), not \(65, 12\)"),
        ("other modalities", r"modalities are \('c', 'b', 'a'\)"),
        ("not finite", "rows of 'b' contain NaN or Inf"),
        ("own randomness", "two runs with the same seed differ in 'rows/a'"),
        ("global randomness", "used torch's global random state"),
        ("rows in place", "modified the train rows of 'b' in place"),
        ("start in place", "modified the initial head for 'a' in place"),
        ("ids of validation", "initial id .* is not the id of a training row"),
        ("no step", "the recipe has 0 steps"),
        ("a step size too few", "the recipe needs one positive step size per modality"),
        ("students diverge", "a student's head for 'a' contains NaN or Inf"),
        ("another objective", "storage or objective of the set differs from the settings of the method"),
        ("provenance lost", r"the set lacks or changes the fields \['method', 'data'\] of the task's provenance"),
        ("negative time", "reports a time of -1.0 seconds"),
    ],
)
def test_a_broken_method_is_named(how: str, message: str, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    with pytest.raises(AssertionError, match=f"method with 3 modalities.*{message}"):
        check_method(broken(how), without_experts(task_of(tmp_path, tiny("random"))))
    torch.set_rng_state(state)


def test_a_method_of_a_user_passes(tmp_path: Path) -> None:
    check_method(broken("not at all"), task_of(tmp_path, tiny("random")))
