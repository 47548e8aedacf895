"""Every method keeps the contract, in the settings of presets that differ in their parts, for M = 2, 3 and 4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.config import RunConfig
from omnidistill.methods import METHODS, Method
from omnidistill.testing import check_method
from small_runs import features

WITH_TASK = "hopa distill.outer.task_weight=0.5"
PRESETS = {
    "trajectory": ("hopa", WITH_TASK, "shortcut", "lors-diagonal", "repblend", "tesla"),
    "select": ("random", "k-medoids", "forgetting", "prototypes", "group-means"),
    "covmatch": ("covmatch", "covmatch-errors"),
    "apm": ("apm",),
    "task": (
        "hopa distill.outer.kind=task distill.outer.rows=20",
        "hopa distill.outer.kind=task distill.rollout=tesla",
    ),
}
CASES = [(kind, preset) for kind, presets in PRESETS.items() for preset in presets]


def config_of(preset: str) -> RunConfig:
    """The tiny settings of a preset and what is set beside it."""
    return tiny(*preset.split())


def test_every_method_is_among_the_cases() -> None:
    assert list(PRESETS) == list(METHODS)
    assert all(config_of(preset).distill.kind == kind for kind, preset in CASES)
    assert all(isinstance(method, Method) for method in METHODS.values())


@pytest.mark.parametrize(
    ("kind", "preset", "num_modalities"),
    [(*case, 3) for case in CASES]
    + [(kind, presets[0], m) for kind, presets in PRESETS.items() for m in (2, 4)]
    + [("trajectory", WITH_TASK, m) for m in (2, 4)],
)
def test_it_keeps_the_contract(kind: str, preset: str, num_modalities: int, tmp_path: Path) -> None:
    check_method(METHODS[kind], task_of(tmp_path, config_of(preset), features(num_modalities)))


@pytest.mark.parametrize(("kind", "preset"), CASES)
def test_its_settings_tell_whether_it_uses_experts(kind: str, preset: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, config_of(preset))
    made = METHODS[kind](task).distilled
    assert task.config.distill.uses_experts == ("experts" in made.provenance) == (tmp_path / "experts").exists()


def with_other_test_rows(data: FeatureSet) -> FeatureSet:
    test = torch.tensor([split == "test" for split in data.splits])
    other = {name: torch.where(test[:, None], 1 - 3 * x.flip(0), x) for name, x in data.features.items()}
    return replace(data, features=other)


@pytest.mark.parametrize(("kind", "preset"), [(kind, presets[0]) for kind, presets in PRESETS.items()])
def test_no_test_row_has_a_say(kind: str, preset: str, tmp_path: Path) -> None:
    """Other values in the test split: rows, recipe and verdict are the same to the last bit."""
    one, other = (
        METHODS[kind](task_of(tmp_path / name, config_of(preset), data)).distilled
        for name, data in {"one": features(), "other": with_other_test_rows(features())}.items()
    )
    assert all(torch.equal(other.tensors[name], tensor) for name, tensor in one.tensors.items())
    assert (other.recipe, other.provenance["validation"]) == (one.recipe, one.provenance["validation"])
