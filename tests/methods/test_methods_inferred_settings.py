"""Settings that are left open are inferred from data and experts, and the provenance says what and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from method_problems import task_of
from omnidistill.core.errors import InputError
from omnidistill.experiments.config import RunConfig, load_config
from omnidistill.experiments.run.expert_starts import CHOSEN
from omnidistill.methods import methods
from omnidistill.methods.inferred_settings import infer_settings
from omnidistill.methods.learn import Learn
from omnidistill.models.storages import RowStorage
from omnidistill.training.experts.expert_key import StartTraining

SMALL = (
    "heads.width=8",
    "experts.num_experts=2",
    "experts.batch_size=16",
    "distill.size=6",
    "distill.iterations=2",
    "distill.num_student_steps=3",
    "distill.validate_every=1",
    "evaluate.max_epochs=3",
    "evaluate.learning_rates=[0.3, 1.0]",
)


def open_config(*more: str) -> RunConfig:
    """The recommended settings, small."""
    return load_config(preset="recommended", overrides=[*SMALL, *more])


def test_the_provenance_has_the_numbers_and_the_reasons(tmp_path: Path) -> None:
    config = open_config()
    task = task_of(tmp_path, config)
    made = config.distill.run(task).distilled
    (trained,) = task.experts().key.starts
    settings = methods.build(made.provenance.config["distill"])
    assert isinstance(settings, Learn)
    assert trained.num_epochs == task.experts().num_epochs
    assert settings.initial_step_size == trained.learning_rate
    assert settings.storage == made.spec.storage == RowStorage(views=16)
    assert len(made) == 16 * 6
    choices = made.provenance.choices
    assert set(choices) == {
        "experts.learning_rate",
        "experts.num_epochs",
        "distill.outer.num_expert_epochs",
        "distill.initial_step_size",
        "distill.storage.views",
    }
    assert choices["experts.learning_rate"].startswith(f"{trained.learning_rate:g}, ")
    assert choices["distill.outer.num_expert_epochs"].startswith(f"{trained.num_epochs}, ")
    assert choices["distill.storage.views"] == "16, so that 6 stored rows become 96 to train on"


def test_experts_are_trained_with_what_validates_best_and_store_it(tmp_path: Path) -> None:
    config = open_config()
    task_of(tmp_path, config).experts()
    written = (tmp_path / "experts" / CHOSEN).read_bytes()
    training = json.loads(written)["training"]
    again = task_of(tmp_path, config).experts()
    assert (tmp_path / "experts" / CHOSEN).read_bytes() == written
    assert again.key.starts == (StartTraining(training["learning_rate"], training["num_epochs"]),)
    assert again.num_epochs == training["num_epochs"]


def test_settings_that_are_given_are_used_unchanged(tmp_path: Path) -> None:
    given = ("experts.learning_rate=0.7", "experts.num_epochs=2", "distill.initial_step_size=0.4")
    config = open_config(*given, "distill.storage.views=2", "distill.outer.num_expert_epochs=1")
    task = task_of(tmp_path, config)
    assert infer_settings(config.distill, task, task.experts()) == (config.distill, task)
    assert not (tmp_path / "experts" / CHOSEN).exists()


@pytest.mark.parametrize(("given", "fixed"), [("learning_rate", 0.7), ("num_epochs", 2)])
def test_one_may_be_given_without_the_other(given: str, fixed: float, tmp_path: Path) -> None:
    (trained,) = task_of(tmp_path, open_config(f"experts.{given}={fixed}")).experts().key.starts
    assert getattr(trained, given) == fixed
    assert trained.learning_rate > 0 < trained.num_epochs


@pytest.mark.parametrize(
    ("size", "rows"), [(1, 16), (10, 160), (30, 270), (100, 300), (165, 330), (256, 256), (500, 500)]
)
def test_few_rows_have_many_views(size: int, rows: int) -> None:
    assert load_config(preset="recommended", distill__size=size).distill.num_rows == rows


def test_all_epochs_have_one_start() -> None:
    with pytest.raises(InputError, match="max_start_epoch above 1 requires num_expert_epochs"):
        load_config(preset="recommended", overrides=["distill.outer.max_start_epoch=2"])
