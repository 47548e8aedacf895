"""The starts of experts: the run's own heads and others like them, each with the training that validates best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.evaluation.full_training import choose_training
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.run import load_or_train_experts
from omnidistill.experiments.run.expert_starts import CHOSEN, load_or_create_starts
from omnidistill.models.heads import load_heads
from omnidistill.training.experts import Start
from small_runs import contents, features, small_heads

SMALL = (
    "heads.num_epochs=2",
    "experts.num_experts=6",
    "experts.num_starts=4",
    "experts.random_starts=2",
    "experts.batch_size=16",
    "evaluate.max_epochs=3",
    "evaluate.learning_rates=[0.3, 1.0]",
)


def config(*more: str, **fixed: Any) -> RunConfig:
    """Heads of 5, beside those of the run, which are 8 wide."""
    return load_config(preset="recommended", overrides=["heads.width=5", *SMALL, *more], **fixed)


def starts(folder: Path, settings: RunConfig, seed: int = 0) -> list[Start]:
    data = features()
    return load_or_create_starts(data, small_heads(data), settings, folder, seed)


def test_pre_trained_ones_come_first_and_random_ones_last(tmp_path: Path) -> None:
    """All as wide as the run's own, no two alike; they are kept, and taken again."""
    data = features()
    made = starts(tmp_path, config())
    assert all(torch.equal(made[0].heads[name], matrix) for name, matrix in small_heads(data).items())
    origins = []
    for number in (1, 2, 3):
        heads, meta = load_heads(tmp_path / f"start-{number}", data.widths)
        assert heads["a"].shape == (8, 12)
        assert all(torch.equal(made[number].heads[name], matrix) for name, matrix in heads.items())
        assert not any(torch.equal(made[other].heads["a"], heads["a"]) for other in range(number))
        origins.append((meta["origin"], meta["config"]["num_epochs"]))
    assert origins == [("pre-trained on the heads split", 2), ("random", 0), ("random", 0)]
    before = contents(tmp_path)
    again = starts(tmp_path, config())
    assert contents(tmp_path) == before
    assert [(one.learning_rate, one.num_epochs) for one in again] == [
        (one.learning_rate, one.num_epochs) for one in made
    ]


def test_every_start_takes_the_training_that_suits_it(tmp_path: Path) -> None:
    settings, data = config(), features()
    for number, start in enumerate(starts(tmp_path, settings)):
        best = choose_training(
            settings.experts.objective.bind(data.modalities),
            start.heads,
            data.development(),
            settings.evaluate.learning_rates,
            batch_size=16,
            max_epochs=3,
            seed=0,
            purpose="experts/choose",
        )
        assert (start.learning_rate, start.num_epochs) == (best.learning_rate, best.num_epochs)
        place = tmp_path / f"start-{number}" if number else tmp_path
        assert json.loads((place / CHOSEN).read_text())["training"]["score"] == best.score


def test_what_is_given_holds_for_all(tmp_path: Path) -> None:
    made = starts(tmp_path, config("experts.learning_rate=0.7", "experts.num_epochs=2"))
    assert {(start.learning_rate, start.num_epochs) for start in made} == {(0.7, 2)}
    assert not list(tmp_path.rglob(CHOSEN))


def test_others_follow_from_the_seed_of_the_experts(tmp_path: Path) -> None:
    """So that runs of several seeds that share experts have the same ones, whichever comes first."""
    given = ("experts.learning_rate=0.7", "experts.num_epochs=1", "experts.seed=5")
    data = features()
    made = [
        load_or_train_experts(data, small_heads(data), config(*given, seed=seed), tmp_path / str(seed)).heads(1, 0)["a"]
        for seed in (1, 2)
    ]
    assert torch.equal(*made)
    assert not torch.equal(made[0], starts(tmp_path / "other", config(*given), seed=6)[1].heads["a"])


def test_epochs_that_are_matched_must_be_there(tmp_path: Path) -> None:
    """NoteRecorder before experts are trained."""
    data, settings = features(), config("evaluate.max_epochs=1", "distill.outer.num_expert_epochs=2")
    with pytest.raises(InputError, match="have 1 epochs, but the settings need at least 2 epochs; train"):
        load_or_train_experts(data, small_heads(data), settings, tmp_path)
    assert not list(tmp_path.glob("epoch-*"))
