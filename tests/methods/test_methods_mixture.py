"""The method "mixture": settings that determine the matrix, learning, and input that it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.core.errors import InputError
from omnidistill.distillation import Distillation
from omnidistill.experiments.config import load_config
from omnidistill.training.recipes.anchor_regression import Anchor
from small_runs import features
from transfer_problems import result

FAST = ("distill.size=6", "distill.iterations=4", "distill.validate_every=2", "distill.real_rows=40")


def run(folder: Path, *settings: str) -> Distillation:
    config = tiny("mixture", *FAST, *settings)
    return config.distill.run(without_experts(task_of(folder, config, features())))


def test_learning_lowers_the_loss_and_the_recipe_is_learned(tmp_path: Path) -> None:
    settings = ("distill.iterations=30", "distill.noise=0", "distill.powers=[1.0, 1.0]", "distill.real_rows=64")
    outcome = run(tmp_path, *settings)
    losses = [record.values["loss"] for record in outcome.records if "loss" in record.values]
    assert sum(losses[-5:]) < sum(losses[:5])
    recipe = outcome.distilled.recipe
    assert isinstance(recipe, Anchor)
    assert len(set(recipe.ridges)) == 3
    assert outcome.distilled.mixture is not None


def test_bits_determine_the_size_of_the_matrix(tmp_path: Path) -> None:
    sizes = {}
    for bits in (2, 4, 32):
        mixture = run(tmp_path, f"distill.weight_bits={bits}", "distill.iterations=0").distilled.mixture
        assert mixture is not None
        sizes[bits] = mixture.bytes
    assert sizes[4] - sizes[2] == pytest.approx(6 * 64 * 2 / 8, abs=32)
    assert sizes[32] > sizes[4]


def test_the_seed_determines_the_set() -> None:
    again = result("mixture", seed=0).set
    assert again.items() == result.__wrapped__("mixture", seed=0).set.items()
    assert again.items() != result("mixture", seed=1).set.items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("distill.size=1",), "distill.size = 1: with method 'mixture', the size must be between 2"),
        (("distill.storage.views=2",), "distill.storage.views: method 'mixture' supports only one view per stored row"),
    ],
)
def test_what_the_method_refuses(settings: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        run(tmp_path, *settings)


def test_data_with_a_pairing_matrix_are_refused(tmp_path: Path) -> None:
    data, config = features(), tiny("mixture", *FAST)
    task = without_experts(task_of(tmp_path, config, replace(data, pairing=torch.eye(len(data)))))
    with pytest.raises(InputError, match=r"^method 'mixture' needs groups, but the data have a pairing matrix"):
        config.distill.run(task)


def test_powers_are_in_order() -> None:
    with pytest.raises(InputError, match=r"powers: the first \(2.0\) must not exceed the second \(1.0\)"):
        load_config(preset="mixture", overrides=["distill.powers=[2.0, 1.0]"])
