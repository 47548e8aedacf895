"""The method "learn" with the task loss, alone and next to matched trajectories: it minimises what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.distillation import Outer, TaskLoss, TrajectoryMatching, WithTask, distill
from omnidistill.experiments.config import RunConfig
from omnidistill.methods import Task
from small_runs import learn_settings, records

LAST = "distill.validate_every=0"
TASK = (LAST, "distill.outer.task.rows=20", "distill.outer.task.tau=0.2")


def losses(folder: Path) -> list[dict[str, float]]:
    return [{name: x for name, x in record.items() if name.startswith("loss")} for record in records(folder)[1:]]


def assert_is(task: Task, config: RunConfig, outer: Outer, folder: Path, rows: dict[str, torch.Tensor]) -> None:
    """Assert that the task gave the losses and rows of the loop with this outer objective."""
    train = task.development.train
    expected = distill(train, outer, 8, learn_settings(config), folder, seed=task.seed).distilled
    assert losses(task.folder) == losses(folder)
    assert all(torch.equal(rows[name], x) for name, x in expected.rows().items())


def test_the_settings_give_rows_and_temperature(tmp_path: Path) -> None:
    """Students start from the heads of the task, and no expert is requested."""
    config = tiny("hopa", "distill.outer.kind=task", "distill.outer.rows=20", "distill.outer.tau=0.2", LAST)
    given = without_experts(task_of(tmp_path / "method", config))
    result = config.distill.run(given)
    made = result.distilled
    assert_is(given, config, TaskLoss(given.development.train, given.start, 20, 0.2), tmp_path / "loop", made.rows())
    assert made.provenance.experts is None
    assert result.floor is None


def test_a_weight_adds_the_task_loss_to_the_matching_loss(tmp_path: Path) -> None:
    config = tiny("hopa", *TASK, "distill.outer.task_weight=0.3")
    given = task_of(tmp_path / "method", config)
    result = config.distill.run(given)
    made = result.distilled
    outer = WithTask(
        TrajectoryMatching(given.experts(), 1, 2), TaskLoss(given.development.train, given.start, 20, 0.2), 0.3
    )
    assert_is(given, config, outer, tmp_path / "loop", made.rows())
    assert made.provenance.experts is not None
    assert result.floor is not None


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_without_weight_there_is_no_task_loss(weight: float, tmp_path: Path) -> None:
    config = tiny("hopa", *TASK, f"distill.outer.task_weight={weight}")
    config.distill.run(task_of(tmp_path, config))
    assert all(("loss/task/infonce" in record) == (weight > 0) for record in losses(tmp_path))


def test_the_set_that_validates_best_is_the_result(tmp_path: Path) -> None:
    settings = ("distill.outer.kind=task", "distill.iterations=6", "distill.validate_every=1", "distill.outer.rows=20")
    config = tiny("hopa", *settings)
    made = config.distill.run(task_of(tmp_path, config)).distilled
    verdicts = [record["validation"] for record in records(tmp_path)]
    assert len(verdicts) == 7
    assert made.provenance.validation == max(verdicts) > min(verdicts)
    assert verdicts[made.provenance.iteration] == max(verdicts)
