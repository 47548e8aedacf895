"""Task-loss matching as a method, alone and beside matched trajectories: what the settings say is what is minimised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.distill import Outer, TaskLoss, TrajectoryMatching, WithTask, distill
from omnidistill.methods import Task, match_task, match_trajectories
from small_runs import records

TASK = ("distill.validate_every=0", "distill.outer.rows=20", "distill.outer.tau=0.2")


def losses(folder: Path) -> list[dict[str, float]]:
    return [{name: x for name, x in record.items() if name.startswith("loss")} for record in records(folder)[1:]]


def assert_is(made: Task, outer: Outer, folder: Path, rows: dict[str, torch.Tensor]) -> None:
    """The same losses and rows as the loop with that outer objective."""
    train, config = made.development.train, made.config
    expected = distill(train, outer, 8, config, folder, identity=made.provenance).distilled
    assert losses(made.folder) == losses(folder)
    assert all(torch.equal(rows[name], x) for name, x in expected.rows().items())


def test_the_settings_say_how_many_rows_and_how_hot(tmp_path: Path) -> None:
    """From the task's start, and no expert is asked for."""
    given = without_experts(task_of(tmp_path / "method", tiny("hopa", "distill.outer.kind=task", *TASK)))
    made = match_task(given).distilled
    assert_is(given, TaskLoss(given.development.train, given.start, 20, 0.2), tmp_path / "loop", made.rows())
    assert "experts" not in made.provenance
    assert not (given.folder / "floor.json").exists()


def test_a_weight_adds_the_task_to_what_is_matched(tmp_path: Path) -> None:
    given = task_of(tmp_path / "method", tiny("hopa", *TASK, "distill.outer.task_weight=0.3"))
    made = match_trajectories(given).distilled
    outer = WithTask(
        TrajectoryMatching(given.experts(), 1, 2), TaskLoss(given.development.train, given.start, 20, 0.2), 0.3
    )
    assert_is(given, outer, tmp_path / "loop", made.rows())
    assert "experts" in made.provenance
    assert (given.folder / "floor.json").exists()


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_no_weight_no_task(weight: float, tmp_path: Path) -> None:
    match_trajectories(task_of(tmp_path, tiny("hopa", *TASK, f"distill.outer.task_weight={weight}")))
    assert all(("loss/task/infonce" in record) == (weight > 0) for record in losses(tmp_path))


def test_the_set_that_validates_best_is_kept(tmp_path: Path) -> None:
    settings = ("distill.outer.kind=task", "distill.iterations=6", "distill.validate_every=1", "distill.outer.rows=20")
    made = match_task(task_of(tmp_path, tiny("hopa", *settings))).distilled
    verdicts = [record["validation"] for record in records(tmp_path)]
    assert len(verdicts) == 7
    assert made.provenance["validation"] == max(verdicts) > min(verdicts)
    assert verdicts[made.provenance["iteration"]] == max(verdicts)
