"""Coresets and prototypes as a method: which rows, what is positive of what, and what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distill import DistilledSet
from omnidistill.methods import Task, choose_rows
from omnidistill.methods.select import Select
from omnidistill.methods.selectors import SELECTORS, USES_TRAJECTORY, group_means, prototypes, select_rows
from small_runs import features, small_heads

SIZE = 20  # 16 groups of four rows: some groups must give a second row
AVERAGES = ("prototypes", "group-means")


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features(positives_per_group=4)


def task(folder: Path, data: FeatureSet, selector: str, *overrides: str) -> Task:
    more = (f"distill.selector={selector}", f"distill.size={SIZE}", "distill.max_steps=8", *overrides)
    return task_of(folder, tiny("forgetting", "experts.num_experts=2", *more), data)


def made(task: Task) -> DistilledSet:
    return choose_rows(task).distilled


def stream(seed: int = 0) -> torch.Generator:
    return Streams(seed)["select"]


def test_every_selector_can_be_asked_for_by_name() -> None:
    named = get_args(Select.model_fields["selector"].annotation)
    assert named == (*SELECTORS, *AVERAGES)
    assert {name for name in named if Select(selector=name).uses_experts} == USES_TRAJECTORY


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("selector", [name for name in SELECTORS if name not in USES_TRAJECTORY])
def test_rows_are_those_of_the_selector(selector: str, seed: int, data: FeatureSet, tmp_path: Path) -> None:
    """By the heads that students start from and the run's stream "select"; no expert is asked for."""
    given = without_experts(task(tmp_path, data, selector, f"seed={seed}"))
    train = data.split("train")
    found = made(given)
    rows = select_rows(selector, train, small_heads(data), SIZE, stream(seed)).tolist()
    assert found.initial_ids == tuple(train.ids[row] for row in rows)
    for name, x in found.rows().items():
        assert torch.equal(x, train.features[name][rows])
    assert "experts" not in found.provenance


def test_rows_that_depend_on_training_are_those_of_the_first_expert(data: FeatureSet, tmp_path: Path) -> None:
    """Its heads after every epoch, the start first; the set tells which experts were used."""
    given, train = task(tmp_path, data, "forgetting"), data.split("train")
    buffer, chosen = given.experts(), {}
    for expert in range(2):
        path = [buffer.heads(expert, epoch) for epoch in range(4)]
        rows = select_rows("forgetting", train, given.start, SIZE, stream(), path)
        chosen[expert] = tuple(train.ids[row] for row in rows.tolist())
    shorter = [buffer.heads(0, epoch) for epoch in range(3)]
    cut = select_rows("forgetting", train, given.start, SIZE, stream(), shorter).tolist()
    found = made(given)
    assert found.initial_ids == chosen[0]
    assert chosen[0] not in (chosen[1], tuple(train.ids[row] for row in cut))
    assert found.provenance["experts"] == {
        "config": given.config.experts.model_dump(mode="json"),
        "starts": [{"learning_rate": 0.1, "num_epochs": 3}],
        "seed": 0,
    }
    assert set(USES_TRAJECTORY) == {"forgetting"}


@pytest.mark.parametrize("selector", ["random", "herding"])
def test_rows_of_a_group_are_positives_of_each_other(selector: str, data: FeatureSet, tmp_path: Path) -> None:
    found = made(task(tmp_path, data, selector))
    group = dict(zip(data.ids, data.groups, strict=True))
    groups = np.array([group[identity] for identity in found.initial_ids])
    same = groups[:, None] == groups
    assert same.sum() > SIZE
    np.testing.assert_array_equal(found.similarity().numpy(), same.astype(np.float32))
    batches = torch.tensor([[[0, 19, 7]], [[18, 3, 16]]])
    for run in range(2):
        rows = batches[run, 0].numpy()
        np.testing.assert_array_equal(found.targets(batches)[run, 0].numpy(), same[rows][:, rows])
    again = DistilledSet.load(tmp_path / "distilled")
    assert torch.equal(again.similarity(), found.similarity())


@pytest.mark.parametrize("selector", AVERAGES)
def test_averages_are_those_of_their_function(selector: str, data: FeatureSet, tmp_path: Path) -> None:
    """Every average is a positive of itself alone, and is no row that has an id."""
    size = 12  # of 16 groups
    found = made(without_experts(task(tmp_path, data, selector, f"distill.size={size}", "seed=2")))
    train = data.split("train")
    wanted = {
        "prototypes": lambda: prototypes(train, small_heads(data), size, stream(2)),
        "group-means": lambda: group_means(train, size, stream(2)),
    }[selector]()
    assert all(torch.equal(x, wanted[name]) for name, x in found.rows().items())
    assert torch.equal(found.similarity(), torch.eye(size))
    assert found.initial_ids == ()
