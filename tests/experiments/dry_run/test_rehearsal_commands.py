"""Rehearsals beside what then happens: steps and bytes exactly, nothing kept, the same refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from omnidistill.core.errors import InputError
from omnidistill.experiments.config import load_config
from omnidistill.experiments.dry_run import Foreseen, rehearse_comparison, rehearse_distill, rehearse_experts
from small_runs import SMALL, cli, packed, small_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "SET")


def tensor_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


@pytest.mark.parametrize("starts", [1, 2])
def test_experts_weigh_what_was_foreseen(data: Path, tmp_path: Path, starts: int) -> None:
    config = small_config(f"experts.num_starts={starts}", "experts.num_experts=4")
    foreseen = rehearse_experts(data, config=config)
    names = [stage.name for stage in foreseen.stages]
    assert names == (["heads", "experts"] if starts == 1 else ["heads", "other starts", "experts"])
    assert foreseen.seconds > 0
    assert foreseen.rows == 64
    settings = ("--set", f"experts.num_starts={starts}", "--set", "experts.num_experts=4")
    assert cli("experts", data, *SMALL, *settings, "-o", tmp_path / "BUFFER").code == 0
    real = tensor_bytes(tmp_path / "BUFFER")
    headers = 1500 * len(list(tmp_path.rglob("*.safetensors")))
    assert foreseen.bytes <= real <= foreseen.bytes + headers


def test_every_start_has_heads_and_a_training_of_its_own(data: Path) -> None:
    """Random heads are not pre-trained, but what they take is chosen too."""
    open_ones = ["experts.num_starts=4", "experts.random_starts=1", "experts.num_experts=6", "heads.num_epochs=3"]
    few = ["evaluate.learning_rates=[0.1, 1.0]", "evaluate.max_epochs=5"]
    config = load_config(preset="recommended", overrides=["heads.width=8", *open_ones, *few])
    steps = {stage.name: stage.steps for stage in rehearse_experts(data, config=config).stages}
    assert 1 <= steps.pop("experts") <= 5
    assert steps == {"heads": 3, "choose the experts' training": 4 * 2 * 5, "other starts": 2 * 3}


def test_a_run_has_the_steps_and_bytes_that_were_foreseen(data: Path, tmp_path: Path) -> None:
    outcome = cli("distill", data, *SMALL, "--size", 9, "--dry-run", "--json", "-o", tmp_path / "RUN")
    assert outcome.code == 0, outcome
    assert not (tmp_path / "RUN").exists()
    foreseen = json.loads(outcome.out)
    steps = {stage["name"]: stage["steps"] for stage in foreseen["stages"]}
    config = small_config()
    assert steps["distill"] == config.distill.iterations
    assert (steps["heads"], steps["experts"]) == (config.heads.num_epochs, config.experts.num_epochs)
    assert foreseen["seconds"] == pytest.approx(sum(stage["seconds"] for stage in foreseen["stages"]))
    assert foreseen["peak_bytes"] is None or foreseen["peak_bytes"] > 10**7
    assert cli("distill", data, *SMALL, "--size", 9, "-o", tmp_path / "RUN").code == 0
    real = tensor_bytes(tmp_path / "RUN")
    assert foreseen["bytes"] <= real <= foreseen["bytes"] + 1500 * len(list(tmp_path.rglob("*.safetensors")))


def test_a_comparison_counts_every_set_and_shared_experts_once(data: Path) -> None:
    settings = (
        "heads.width=8",
        "heads.num_epochs=1",
        "experts.num_experts=1",
        "experts.num_epochs=2",
        "distill.outer.max_start_epoch=1",
        "distill.outer.num_expert_epochs=1",
        "distill.iterations=2",
        "distill.num_student_steps=1",
        "evaluate.max_epochs=1",
        "evaluate.learning_rates=[1.0]",
    )
    given = {
        "sizes": (12,),
        "seeds": (0, 1),
        "num_students": 2,
        "baselines": ("full", "equal-bytes"),
        "settings": settings,
    }
    foreseen = rehearse_comparison(data, ("hopa", "hopa-no-ins", "apm"), **given)
    stages = {stage.name: stage for stage in foreseen.stages}
    sets = [name for name in stages if stages[name].unit == "sets" and stages[name].steps == 2]
    assert sets == ["hopa, 12 rows", "hopa-no-ins, 12 rows", "apm, 12 rows"]
    assert {"full", "equal-bytes, 12 rows"} <= set(stages)
    assert all(stage.seconds >= 0 for stage in stages.values())


def test_what_the_command_refuses_its_rehearsal_refuses(data: Path) -> None:
    with pytest.raises(InputError, match=r"distill\.size = 65 exceeds the 64 training rows"):
        rehearse_distill(data, config=small_config("distill.size=65"))
    with pytest.raises(InputError, match="no such set"):
        rehearse_experts(data / "none", config=small_config())


def test_lines_for_people() -> None:
    from omnidistill.experiments.dry_run import Stage

    stages = (Stage("heads", 3, "epochs", 30.0, 2000), Stage("distill", 10, "iterations", 90.0, 10**7, usual=True))
    lines = Foreseen(stages, 64, 5 * 10**8, ("mind this",)).lines()
    assert lines[0] == "64 training rows; nothing was kept"
    assert "about 10 iterations" in lines[2]
    assert lines[3].split() == ["in", "all", "2.0", "min", "10.0", "MB"]
    assert lines[4] == "memory  500.0 MB at its peak"
    alone = Foreseen((Stage("sets", 1, "sets", 0.0), Stage("runs", 1, "epochs of 20 runs", 0.0)), 64, None).lines()
    assert [re.split(r" {2,}", line)[1] for line in alone[1:3]] == ["1 set", "1 epoch of 20 runs"]
    assert lines[-2:] == ["note    mind this", "next    the same command without --dry-run"]
    assert Foreseen(stages, 64, None, elapsed=60.0).seconds == 60.0
