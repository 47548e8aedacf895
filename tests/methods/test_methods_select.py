"""The method "select": which rows it takes, which of them are positives of each other, and what it records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from method_problems import task_of, tiny, without_experts
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.config import RunConfig
from omnidistill.methods.select import Select
from omnidistill.methods.selectors import RowSelector, selectors
from omnidistill.methods.selectors.prototypes import group_means, prototypes
from small_runs import features, small_heads

SIZE = 20  # 16 groups of four rows: some groups must give a second row
AVERAGES = ("prototypes", "group-means")
ROWS = [name for name in selectors.names() if issubclass(selectors.get(name), RowSelector)]


@pytest.fixture(scope="module")
def data() -> FeatureSet:
    return features(positives_per_group=4)


def config_of(selector: str, *overrides: str) -> RunConfig:
    more = (f"distill.selector={selector}", f"distill.size={SIZE}", "distill.max_steps=8", *overrides)
    return tiny("forgetting", "experts.num_experts=2", *more)


def selected(folder: Path, data: FeatureSet, config: RunConfig) -> DistilledSet:
    """Return the set of a run that has no experts."""
    return config.distill.run(without_experts(task_of(folder, config, data))).distilled


def stream(seed: int = 0) -> torch.Generator:
    return Streams(seed)["select"]


def test_every_selector_can_be_chosen_by_name() -> None:
    built = {name: Select.model_validate({"selector": name}) for name in selectors.names()}
    assert {name: method.selector.kind for name, method in built.items()} == {name: name for name in built}
    assert set(built) == {*ROWS, *AVERAGES}
    assert {name for name, method in built.items() if method.uses_experts} == {"forgetting"}


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("selector", [name for name in ROWS if name != "forgetting"])
def test_rows_are_those_of_the_selector(selector: str, seed: int, data: FeatureSet, tmp_path: Path) -> None:
    """The selector sees the heads that students start from and draws from the stream "select"; it uses no expert."""
    train = data.split("train")
    found = selected(tmp_path, data, config_of(selector, f"seed={seed}"))
    rows = selectors.build(selector).rows(train, small_heads(data), SIZE, stream(seed)).tolist()
    assert found.provenance.initial_ids == tuple(train.ids[row] for row in rows)
    for name, x in found.rows().items():
        assert torch.equal(x, train.features[name][rows])
    assert found.provenance.experts is None


def test_rows_that_depend_on_training_are_those_of_the_first_expert(data: FeatureSet, tmp_path: Path) -> None:
    """Its heads after every epoch, the start first; the provenance records which experts were used."""
    config, train = config_of("forgetting"), data.split("train")
    given = task_of(tmp_path, config, data)
    buffer, chosen, select = given.experts(), {}, selectors.build("forgetting").rows
    for expert in range(2):
        path = [buffer.heads(expert, epoch) for epoch in range(4)]
        rows = select(train, given.start, SIZE, stream(), path)
        chosen[expert] = tuple(train.ids[row] for row in rows.tolist())
    shorter = [buffer.heads(0, epoch) for epoch in range(3)]
    cut = select(train, given.start, SIZE, stream(), shorter).tolist()
    found = config.distill.run(given).distilled
    assert found.provenance.initial_ids == chosen[0]
    assert chosen[0] not in (chosen[1], tuple(train.ids[row] for row in cut))
    assert found.provenance.experts == {
        "config": config.experts.model_dump(mode="json"),
        "starts": [{"learning_rate": 0.1, "num_epochs": 3}],
        "seed": 0,
    }


@pytest.mark.parametrize("selector", ["random", "herding"])
def test_rows_of_a_group_are_positives_of_each_other(selector: str, data: FeatureSet, tmp_path: Path) -> None:
    found = selected(tmp_path, data, config_of(selector))
    group = dict(zip(data.ids, data.groups, strict=True))
    groups = np.array([group[identity] for identity in found.provenance.initial_ids])
    same = groups[:, None] == groups
    assert same.sum() > SIZE
    np.testing.assert_array_equal(found.similarity().numpy(), same.astype(np.float32))
    batches = torch.tensor([[[0, 19, 7]], [[18, 3, 16]]])
    for run in range(2):
        rows = batches[run, 0].numpy()
        np.testing.assert_array_equal(found.targets(batches)[run, 0].numpy(), same[rows][:, rows])
    found.save(tmp_path / "distilled")
    again = DistilledSet.load(tmp_path / "distilled")
    assert torch.equal(again.similarity(), found.similarity())


@pytest.mark.parametrize("selector", AVERAGES)
def test_averages_are_those_of_their_function(selector: str, data: FeatureSet, tmp_path: Path) -> None:
    """Every average is a positive only of itself, and has no id, because it is not a row of the data."""
    size = 12  # of 16 groups
    found = selected(tmp_path, data, config_of(selector, f"distill.size={size}", "seed=2"))
    train = data.split("train")
    wanted = {
        "prototypes": lambda: prototypes(train, small_heads(data), size, stream(2)),
        "group-means": lambda: group_means(train, size, stream(2)),
    }[selector]()
    assert all(torch.equal(x, wanted[name]) for name, x in found.rows().items())
    assert torch.equal(found.similarity(), torch.eye(size))
    assert found.provenance.initial_ids == ()
