"""Dry runs compared with what then happens: steps and bytes exactly, nothing written, the same refusals."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from omnidistill.core.errors import InputError
from omnidistill.data.store import load_features
from omnidistill.experiments.comparison import compare
from omnidistill.experiments.config import load_config
from omnidistill.experiments.dry_run import CostEstimate, estimate_comparison, estimate_distill, estimate_experts
from omnidistill.experiments.run import distill, train_experts
from omnidistill.experiments.run.start_heads import load_or_create_heads
from omnidistill.io.tracking import SilentProgress
from small_runs import SMALL, cli, features, packed, small_config

FEW: tuple[str, ...] = (
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

CHOSEN = ("distill.max_steps=16", "distill.learning_rates=[1.0]")
"""Of methods whose recipe is chosen on validation."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("data") / "SET")


def tensor_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def check_bytes(estimate: CostEstimate | dict[str, Any], folder: Path, share: float = 1.0) -> None:
    """Check that tensors and the manifests of sets have the size of the estimate, apart from headers."""
    estimated = estimate["bytes"] if isinstance(estimate, dict) else estimate.bytes
    headers = 1500 * len(list(folder.rglob("*.safetensors")))
    manifests = sum(path.stat().st_size for path in folder.rglob("distilled/manifest.json"))
    assert share * estimated <= tensor_bytes(folder) + manifests <= estimated + headers


def steps(estimate: CostEstimate) -> dict[str, int]:
    return {stage.name: stage.steps for stage in estimate.stages}


@pytest.mark.parametrize("starts", [1, 2])
def test_experts_have_the_estimated_steps_and_bytes(data: Path, tmp_path: Path, starts: int) -> None:
    config = small_config(f"experts.num_starts={starts}", "experts.num_experts=4")
    estimate = estimate_experts(data, config=config, progress=False)
    assert steps(estimate) == {"heads": 3, **({"starts": 3} if starts > 1 else {}), "experts": 3}
    assert all(stage.seconds > 0 for stage in estimate.stages)
    assert estimate.rows == 64
    train_experts(data, config=config, folder=tmp_path / "BUFFER", progress=False)
    check_bytes(estimate, tmp_path / "BUFFER")


def test_every_start_has_heads_and_a_training_of_its_own(data: Path) -> None:
    """Random heads are not pre-trained, but their training is chosen too; the estimate runs the same search."""
    unset = ["experts.num_starts=4", "experts.random_starts=1", "experts.num_experts=6", "heads.num_epochs=3"]
    few = ["evaluate.learning_rates=[0.1, 1.0]", "evaluate.max_epochs=5"]
    config = load_config(preset="recommended", overrides=["heads.width=8", *unset, *few])
    estimate = estimate_experts(data, config=config, progress=False)
    buffer = train_experts(data, config=config, progress=False)
    expected = {"heads": 3, "starts": 4 * 2 * 5 + 2 * 3}
    assert steps(estimate) == {**expected, "experts": buffer.num_epochs}
    assert estimate.stages[-1].about


def test_a_run_has_the_estimated_steps_and_bytes(data: Path, tmp_path: Path) -> None:
    typed = ("distill", data, *SMALL, "--set", "distill.iterations=9", "--size", 9, "-o", tmp_path / "RUN")
    outcome = cli(*typed, "--dry-run", "--json")
    assert outcome.code == 0, outcome
    assert not (tmp_path / "RUN").exists()
    estimate = json.loads(outcome.out)
    expected = {"start of Python and PyTorch": 1, "heads": 3, "experts": 3, "distill": 9}
    assert {stage["name"]: stage["steps"] for stage in estimate["stages"]} == expected
    assert estimate["seconds"] == pytest.approx(sum(stage["seconds"] for stage in estimate["stages"]))
    assert estimate["peak_bytes"] is None or estimate["peak_bytes"] > 10**7
    assert cli(*typed).code == 0
    check_bytes(estimate, tmp_path / "RUN")


@pytest.mark.parametrize("preset", ["mtt-separate", "apm", "task"])
def test_sets_of_other_methods_have_the_estimated_bytes(data: Path, tmp_path: Path, preset: str) -> None:
    settings = [text for text in FEW if "outer" not in text and ("distill" not in text or preset != "apm")]
    settings = [text for text in settings if preset == "mtt-separate" or "experts" not in text]
    if preset == "mtt-separate":
        settings += [text for text in FEW if "outer" in text]
    settings += CHOSEN if preset == "apm" else ()
    given: dict[str, Any] = {"preset": preset, "size": 12, "settings": settings, "progress": False}
    estimate = estimate_distill(data, **given)
    distill(data, **given, folder=tmp_path / "RUN")
    check_bytes(estimate, tmp_path / "RUN")


def test_given_experts_are_not_trained_again(data: Path) -> None:
    config = small_config("distill.size=9")
    buffer = train_experts(data, config=config, progress=False)
    assert steps(estimate_distill(data, config=config, experts=buffer, progress=False)) == {"heads": 0, "distill": 6}


def test_a_comparison_counts_every_set_and_shared_experts_once(data: Path, tmp_path: Path) -> None:
    methods = ("hopa", "hopa-no-ins", "apm")
    given: dict[str, Any] = {"sizes": (12,), "seeds": (0, 1), "num_students": 3, "progress": False}
    given["settings"] = (*FEW, *CHOSEN)
    given["baselines"] = ("full", "equal-bytes", "random", "low-rank", "cca")
    estimate = estimate_comparison(data, methods, **given)
    stages = {stage.name: stage for stage in estimate.stages}
    sets = [name for name in stages if stages[name].unit == "sets" and stages[name].steps == 2]
    assert sets == ["hopa, 12 rows", "hopa-no-ins, 12 rows", "apm, 12 rows"]
    assert {"full", "zero-shot", "cca", "equal-bytes, 12 rows"} <= set(stages)
    assert [stage.name for stage in estimate.stages].count("experts") == 2  # HoPA without the term trains others
    assert all(stage.seconds > 0 for stage in estimate.stages)
    compare(data, methods, **given, folder=tmp_path / "CMP")
    check_bytes(estimate, tmp_path / "CMP", share=0.95)


def test_a_dry_run_writes_no_file(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(data.rglob("*"))
    estimate_distill(data, config=small_config("distill.size=9"), progress=False)
    estimate_comparison(data, ["apm"], sizes=(9,), seeds=(0,), settings=("heads.width=8", *CHOSEN), progress=False)
    assert not list(tmp_path.rglob("*"))
    assert sorted(data.rglob("*")) == before


def test_a_dry_run_refuses_what_the_command_refuses(data: Path) -> None:
    buffer = train_experts(data, config=small_config("seed=1"), progress=False)
    other = {"config": small_config("distill.size=65")}
    heads = load_or_create_heads(features(), small_config())
    for command in (distill, estimate_distill):
        with pytest.raises(InputError, match=r"distill\.size = 65 exceeds the 64 training rows"):
            command(data, **other, progress=False)
        with pytest.raises(InputError, match="trained on different data or from different initial heads"):
            command(data, config=small_config("distill.size=9"), heads=heads, experts=buffer, progress=False)
    for command in (train_experts, estimate_experts):
        with pytest.raises(InputError, match="no such folder"):
            command(data / "none", config=small_config(), progress=False)
    for command in (compare, estimate_comparison):
        with pytest.raises(InputError, match="size 65: exceeds the 64 training rows"):
            command(data, ["apm"], sizes=(65,), progress=False)
        with pytest.raises(InputError, match="nonesuch"):
            command(data, ["apm"], sizes=(9,), engine="nonesuch", progress=False)


def test_a_method_that_fails_is_a_note(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise InputError("cannot make rows")

    monkeypatch.setattr("omnidistill.methods.apm.apm_rows", lambda *given, **more: fail())
    given: dict[str, Any] = {"sizes": (9,), "seeds": (0,), "settings": ("heads.width=8", *CHOSEN), "baselines": ()}
    estimate = estimate_comparison(load_features(data), ["apm", "random"], **given, progress=False)
    assert estimate.notes == ("apm, 9 rows: fails with 'cannot make rows'",)
    assert "random, 9 rows" in steps(estimate)


def test_progress_is_shown(data: Path) -> None:
    labels = []

    class Shown(SilentProgress):
        def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
            labels.append(label)

    estimate_experts(data, config=small_config(), progress=Shown())
    assert labels == ["dry run: heads", "dry run: experts"]
