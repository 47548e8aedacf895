"""The method "learn" with matched trajectories: the outer objective that the settings name, and the rank floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.distillation import ShortcutMatching, TrajectoryMatching, distill
from omnidistill.evaluation.validation import validate_set
from omnidistill.experiments.config import RunConfig
from small_runs import learn_settings, records

OUTERS = {"trajectory": TrajectoryMatching, "shortcut": ShortcutMatching}
SETTINGS = ("experts.num_epochs=4", "distill.outer.num_expert_epochs=2", "distill.outer.max_start_epoch=3")


def config_of(outer: str, *more: str) -> RunConfig:
    return tiny("hopa", f"distill.outer.kind={outer}", *SETTINGS, *more)


@pytest.mark.parametrize("target", OUTERS)
def test_the_settings_name_the_outer_objective(target: str, tmp_path: Path) -> None:
    """Loss and set are those of the loop with this outer objective, and differ from those with the other one."""
    config = config_of(target, "distill.validate_every=0")
    given = task_of(tmp_path / "method", config)
    made, sets, losses = config.distill.run(given).distilled, {}, {}
    for name, outer in OUTERS.items():
        matched, train, folder = outer(given.experts(), 2, 3), given.development.train, tmp_path / name
        sets[name] = distill(train, matched, 8, learn_settings(config), folder, seed=given.seed).distilled
        losses[name] = [record["loss"] for record in records(folder) if "loss" in record]
    other = next(name for name in OUTERS if name != target)
    assert [record["loss"] for record in records(given.folder) if "loss" in record] == losses[target] != losses[other]
    assert all(torch.equal(made.tensors[name], tensor) for name, tensor in sets[target].tensors.items())
    assert not torch.equal(made.rows()["a"], sets[other].rows()["a"])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_last_share_of_the_iterations_matches_only_own_experts(share: float, tmp_path: Path) -> None:
    """As a loop whose outer objective has the iteration from which it does so."""
    starts = ("experts.num_starts=2", "experts.random_starts=1", "experts.num_experts=4", "distill.validate_every=0")
    config = config_of("trajectory", *starts, "distill.iterations=8", f"distill.outer.own_share={share}")
    given = task_of(tmp_path / "method", config)
    config.distill.run(given)
    assert given.experts().own == (True, False, True, False)
    outer = TrajectoryMatching(given.experts(), 2, 3, round(8 * (1 - share)))
    distill(given.development.train, outer, 8, learn_settings(config), tmp_path / "loop", seed=given.seed)
    found, wanted = ([each.get("loss") for each in records(folder)] for folder in (given.folder, tmp_path / "loop"))
    assert found == wanted


def test_the_set_that_validates_best_is_the_result(tmp_path: Path) -> None:
    """Its score is that of students from the task's start on the validation rows, computed again here."""
    config = config_of("trajectory", "distill.iterations=6", "distill.validate_every=1")
    given = task_of(tmp_path, config)
    made = config.distill.run(given).distilled
    verdicts = [record["validation"] for record in records(tmp_path)]
    assert len(verdicts) == 7
    assert made.provenance.validation == max(verdicts) > min(verdicts)
    assert verdicts[made.provenance.iteration] == max(verdicts)
    result = validate_set(made, given.start, given.development.validation, learn_settings(config).num_student_steps)
    assert (result.score, result.num_steps) == (max(verdicts), made.recipe.num_steps)


@pytest.mark.parametrize(("size", "steps", "batch", "rank"), [(10, 2, 3, 6), (5, 2, 4, 5), (4, 8, 4, 4)])
def test_the_floor_of_the_rows_that_students_visit_is_computed(
    size: int, steps: int, batch: int, rank: int, tmp_path: Path
) -> None:
    """The tail of the spectrum of W_s - W_{s+2}, mean over starts, at the smaller of N and T b."""
    settings = (f"distill.size={size}", f"distill.num_student_steps={steps}", f"distill.batch_size={batch}")
    config = config_of("trajectory", *settings, "distill.similarity.kind=identity", "distill.iterations=1")
    given = task_of(tmp_path, config)
    floors = config.distill.run(given).floor
    assert floors is not None
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


def test_shortcut_trajectories_have_no_floor(tmp_path: Path) -> None:
    config = config_of("shortcut", "distill.iterations=1")
    assert config.distill.run(task_of(tmp_path, config)).floor is None


def test_the_provenance_records_the_experts(tmp_path: Path) -> None:
    config = config_of("trajectory", "distill.iterations=1", "experts.seed=11")
    made = config.distill.run(task_of(tmp_path, config)).distilled
    assert made.provenance.experts == {
        "config": config.experts.model_dump(mode="json"),
        "starts": [{"learning_rate": config.experts.learning_rate, "num_epochs": 4}],
        "seed": 11,
    }
    assert made.provenance.data == "planted"
