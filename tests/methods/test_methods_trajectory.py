"""Trajectory matching as a method: the outer objective that the settings name, and the floor beside the set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.distill import ShortcutMatching, TrajectoryMatching, distill
from omnidistill.evaluation.validation import judge_set
from omnidistill.methods import Task, match_trajectories
from small_runs import records

OUTERS = {"trajectory": TrajectoryMatching, "shortcut": ShortcutMatching}
SETTINGS = ("experts.num_epochs=4", "distill.outer.num_expert_epochs=2", "distill.outer.max_start_epoch=3")


def task(folder: Path, target: str, *more: str) -> Task:
    return task_of(folder, tiny("hopa", *SETTINGS, f"distill.outer.kind={target}", *more))


@pytest.mark.parametrize("target", OUTERS)
def test_the_settings_name_what_is_matched(target: str, tmp_path: Path) -> None:
    """The same loss and the same set as the loop with that outer objective, other ones than with the other."""
    given = task(tmp_path / "method", target, "distill.validate_every=0")
    made, sets, losses = match_trajectories(given).distilled, {}, {}
    for name, outer in OUTERS.items():
        matched, train, folder = outer(given.experts(), 2, 3), given.development.train, tmp_path / name
        sets[name] = distill(train, matched, 8, given.config, folder, identity=given.provenance).distilled
        losses[name] = [record["loss"] for record in records(folder) if "loss" in record]
    other = next(name for name in OUTERS if name != target)
    assert [record["loss"] for record in records(given.folder) if "loss" in record] == losses[target] != losses[other]
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in sets[target].tensors.items())
    assert not torch.equal(made.rows()["a"], sets[other].rows()["a"])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_last_share_of_the_iterations_matches_own_experts_alone(share: float, tmp_path: Path) -> None:
    """As a loop whose outer objective is told from which iteration on."""
    starts = ("experts.num_starts=2", "experts.random_starts=1", "experts.num_experts=4", "distill.validate_every=0")
    given = task(tmp_path / "method", "trajectory", *starts, "distill.iterations=8", f"distill.outer.own_share={share}")
    match_trajectories(given)
    assert given.experts().own == (True, False, True, False)
    outer = TrajectoryMatching(given.experts(), 2, 3, round(8 * (1 - share)))
    distill(given.development.train, outer, 8, given.config, tmp_path / "loop", identity=given.provenance)
    found, wanted = ([each.get("loss") for each in records(folder)] for folder in (given.folder, tmp_path / "loop"))
    assert found == wanted


def test_the_set_that_validates_best_is_kept(tmp_path: Path) -> None:
    """Judged from the task's start on its validation rows, again by hand for what was saved."""
    given = task(tmp_path, "trajectory", "distill.iterations=6", "distill.validate_every=1")
    made = match_trajectories(given).distilled
    verdicts = [record["validation"] for record in records(tmp_path)]
    assert len(verdicts) == 7
    assert made.provenance["validation"] == max(verdicts) > min(verdicts)
    assert verdicts[made.provenance["iteration"]] == max(verdicts)
    verdict = judge_set(made, given.start, given.development.validation)
    assert (verdict.score, verdict.num_steps) == (max(verdicts), made.recipe.num_steps)


@pytest.mark.parametrize(("size", "steps", "batch", "rank"), [(10, 2, 3, 6), (5, 2, 4, 5), (4, 8, 4, 4)])
def test_the_floor_of_the_rows_that_students_visit_is_written(
    size: int, steps: int, batch: int, rank: int, tmp_path: Path
) -> None:
    """The tail of the spectrum of W_s - W_{s+2}, mean over starts, at the smaller of N and T b."""
    settings = (f"distill.size={size}", f"distill.num_student_steps={steps}", f"distill.batch_size={batch}")
    given = task(tmp_path, "trajectory", *settings, "distill.similarity.kind=identity", "distill.iterations=1")
    match_trajectories(given)
    floors = json.loads((tmp_path / "floor.json").read_text())["floor"]
    assert list(floors) == ["a", "b", "c"]
    buffer = given.experts()
    for name, floor in floors.items():
        tails = []
        for first in range(3):
            gap = (buffer.heads(0, first)[name] - buffer.heads(0, first + 2)[name]).double().numpy()
            squares = np.linalg.svd(gap, compute_uv=False) ** 2
            tails.append(squares[rank:].sum() / squares.sum())
        assert floor == pytest.approx(np.mean(tails), rel=1e-5, abs=1e-9)
        assert floor > 1e-6


def test_no_floor_of_a_line_is_told(tmp_path: Path) -> None:
    match_trajectories(task(tmp_path, "shortcut", "distill.iterations=1"))
    assert json.loads((tmp_path / "floor.json").read_text()) == {"floor": None}


def test_the_set_tells_which_experts_made_it(tmp_path: Path) -> None:
    given = task(tmp_path, "trajectory", "distill.iterations=1", "experts.seed=11")
    made = match_trajectories(given).distilled
    assert made.provenance["experts"] == {
        "config": given.config.experts.model_dump(mode="json"),
        "starts": [{"learning_rate": given.config.experts.learning_rate, "num_epochs": 4}],
        "seed": 11,
    }
    assert made.provenance["data"] == "planted"
