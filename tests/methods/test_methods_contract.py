"""Every method keeps the contract, in the settings of presets that differ in their parts, for M = 2, 3 and 4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.data.featureset import FeatureSet
from omnidistill.experiments.config import RunConfig, has_setting, load_config
from omnidistill.methods import Method, methods
from omnidistill.testing import check_method
from small_runs import features

WITH_TASK = "hopa distill.outer.task_weight=0.5"
PRESETS = {
    "learn": (
        "hopa",
        WITH_TASK,
        "shortcut",
        "lors-diagonal",
        "repblend",
        "tesla",
        "hopa distill.outer.kind=task distill.outer.rows=20",
        "hopa distill.outer.kind=task distill.rollout=tesla",
    ),
    "select": ("random", "k-medoids", "forgetting", "prototypes", "group-means"),
    "covmatch": ("covmatch", "covmatch-errors"),
    "apm": ("apm",),
    "anchor": ("anchor", "anchor-coded", "anchor distill.start_share=0 distill.outer.kind=hopa"),
    "mixture": ("mixture", "mixture distill.items_per_row=3"),
}
FEWER = (
    "distill.iterations=4",
    "distill.validate_every=2",
    "distill.cca_ridges=[0.3]",
    "distill.ridges=[0.1, 1.0]",
    "distill.cutoffs=[0.5]",
)
"""Few iterations and candidates for the methods that `tiny` leaves slow."""
CASES = [preset for presets in PRESETS.values() for preset in presets]
FIRST = [presets[0] for presets in PRESETS.values()]


def config_of(preset: str) -> RunConfig:
    """Return the tiny settings of a preset and its overrides, with few iterations and candidates."""
    words = preset.split()
    fewer = FEWER if words[0].startswith(("anchor", "mixture")) else ()
    return tiny(*words, *(setting for setting in fewer if has_setting(load_config(preset=words[0]), setting)))


def test_every_method_is_among_the_cases() -> None:
    assert tuple(PRESETS) == methods.names()
    for kind, presets in PRESETS.items():
        for preset in presets:
            method = config_of(preset).distill
            assert isinstance(method, Method)
            assert method.kind == kind


@pytest.mark.parametrize(
    ("preset", "num_modalities"),
    [(preset, 3) for preset in CASES] + [(preset, m) for preset in (*FIRST, WITH_TASK, CASES[6]) for m in (2, 4)],
)
def test_every_method_keeps_the_contract(preset: str, num_modalities: int, tmp_path: Path) -> None:
    config = config_of(preset)
    check_method(config.distill, task_of(tmp_path, config, features(num_modalities)))


@pytest.mark.parametrize("preset", CASES)
def test_the_settings_say_whether_experts_are_used(preset: str, tmp_path: Path) -> None:
    config = config_of(preset)
    made = config.distill.run(task_of(tmp_path, config)).distilled
    used = made.provenance.experts is not None
    assert config.distill.uses_experts == used == (tmp_path / "experts").exists()


def with_other_test_rows(data: FeatureSet) -> FeatureSet:
    test = torch.tensor([split == "test" for split in data.splits])
    other = {name: torch.where(test[:, None], 1 - 3 * x.flip(0), x) for name, x in data.features.items()}
    return replace(data, features=other)


@pytest.mark.parametrize("preset", [*FIRST, CASES[6]])
def test_the_test_split_has_no_influence(preset: str, tmp_path: Path) -> None:
    """With other values in the test split, rows, recipe and validation score are the same to the last bit."""
    config = config_of(preset)
    one, other = (
        config.distill.run(task_of(tmp_path / name, config, data)).distilled
        for name, data in {"one": features(), "other": with_other_test_rows(features())}.items()
    )
    assert all(torch.equal(other.tensors[name], tensor) for name, tensor in one.tensors.items())
    assert (other.recipe, other.provenance.validation) == (one.recipe, one.provenance.validation)
