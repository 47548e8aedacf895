"""Without a folder a run makes the same set, bit for bit, and writes nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from omnidistill.core.errors import InputError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.experiments.config import load_config
from omnidistill.experiments.run import DistillResult, distill, open_run, pretrain_heads, train_experts
from omnidistill.training.experts import load_experts
from small_runs import features, packed, run_distill, small_config, small_heads

SILENT: dict[str, Any] = {"device": "cpu", "progress": False}
OPEN = (
    *("distill.iterations=3", "distill.num_student_steps=4", "distill.size=8", "heads.width=8", "heads.num_epochs=2"),
    *("experts.num_experts=4", "experts.num_starts=2", "evaluate.max_epochs=4", "evaluate.learning_rates=[0.3,1.0]"),
)


@pytest.fixture(autouse=True)
def _nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves files in the working folder or makes a temporary folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary folder is made")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    yield
    assert list((tmp_path / "here").iterdir()) == []


def equal(one: DistilledSet, other: DistilledSet) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


@pytest.fixture
def data() -> FeatureSet:
    return features()


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("smoke", ("heads.width=8",)),
        ("smoke", ("heads.width=8", "joint=false", "distill.similarity.rank=2")),
        ("recommended", OPEN),
        ("herding", ("heads.width=8", "distill.size=8", "distill.max_steps=16", "distill.batch_size=4")),
    ],
)
def test_it_is_the_run_that_a_folder_holds(
    data: FeatureSet, preset: str, settings: tuple[str, ...], tmp_path: Path
) -> None:
    config = load_config(preset=preset, overrides=settings)
    place = packed(tmp_path / "SET", data)
    stored = run_distill(str(place), config, tmp_path / "RUN").result(data)
    result = distill(data, config=config, **SILENT)
    assert (result.folder, stored.folder) == (None, tmp_path / "RUN")
    assert (result.location, stored.location) == (None, str(place))
    for one, other in zip(result.parts, stored.parts, strict=True):
        assert equal(one.distilled, other.distilled)
        assert one.distilled.spec == replace(other.distilled.spec, preprocessing={})
        assert one.distilled.provenance == other.distilled.provenance
        assert one.floor == other.floor
        assert [r.iteration for r in one.records] == [r.iteration for r in other.records]
        assert [{k: v for k, v in r.values.items() if k != "seconds"} for r in one.records] == [
            {k: v for k, v in r.values.items() if k != "seconds"} for r in other.records
        ]
    assert all(torch.equal(result.start[name], matrix) for name, matrix in stored.start.items())
    assert (result.config, result.fingerprint, result.choices) == (stored.config, stored.fingerprint, stored.choices)
    assert result.training_bytes == stored.training_bytes
    assert result.seconds.keys() == stored.seconds.keys()


def test_a_result_tells_itself(data: FeatureSet) -> None:
    result = distill(data, preset="smoke", size=6, settings={"heads.width": 8}, **SILENT)
    assert isinstance(result, DistillResult)
    assert repr(result).startswith("DistillResult(smoke: 6 rows of a, b, c, ")
    table = result.table()
    assert "set      a+b+c (6 rows of 32 bits" in table
    assert "matching loss" in table
    tree = json.loads(json.dumps(result.to_json()))
    assert (tree["output"], tree["bytes"], tree["method"]) == (None, result.set.bytes, "smoke")
    assert tree["sets"][0]["rows"] == 6
    heads = result.set.train(result.start)
    assert all(torch.equal(result.train()[name], matrix) for name, matrix in heads.items())
    assert repr(result.set).startswith("DistilledSet(smoke: 6 rows of a 12, b 14, c 16; ")
    assert {name: tuple(matrix.shape) for name, matrix in heads.items()} == {"a": (8, 12), "b": (8, 14), "c": (8, 16)}


def test_a_result_of_pairs_has_several_sets(data: FeatureSet) -> None:
    result = distill(
        data, preset="smoke", settings=["heads.width=8", "joint=false", "distill.similarity.rank=2"], **SILENT
    )
    assert [each.modalities for each in result.sets] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert "3 sets" in repr(result)
    with pytest.raises(InputError, match=r"3 synthetic sets, one per pair of modalities; use result\.sets"):
        result.set  # noqa: B018


def test_a_budget_is_a_number_or_a_text(data: FeatureSet) -> None:
    settings = {"heads.width": 8, "distill.similarity.rank": 2}
    sizes = [
        distill(data, preset="smoke", bytes=budget, settings=settings, **SILENT).set.size
        for budget in (4096, "4096", "4096B")
    ]
    assert len(set(sizes)) == 1


def test_heads_experts_and_a_first_set_are_objects(data: FeatureSet, tmp_path: Path) -> None:
    config, start = small_config(), small_heads(data)
    given = pretrain_heads(data, heads=start, **SILENT)
    assert (given.origin, given.width) == ("given", 8)
    assert all(torch.equal(given[name], matrix) for name, matrix in start.items())
    buffer = train_experts(data, config=config, heads=start, **SILENT)
    train_experts(data, config=config, heads=start, folder=tmp_path / "E", **SILENT)
    stored = load_experts(tmp_path / "E" / "buffer")
    assert stored.key == buffer.key
    assert torch.equal(stored.squared_distances, buffer.squared_distances)
    assert all(torch.equal(stored.heads(1, 2)[name], matrix) for name, matrix in buffer.heads(1, 2).items())
    first = distill(data, config=config, experts=buffer, **SILENT)
    assert equal(first.set, distill(data, config=config, heads=given, **SILENT).set)
    assert equal(first.set, distill(data, config=config, experts=tmp_path / "E", **SILENT).set)
    last = config.evolve(distill=config.distill.evolve(validate_every=0))  # validation may prefer the first set
    second = distill(data, config=last, experts=buffer, initial_set=first.set, **SILENT)
    assert equal(second.set, distill(data, config=last, experts=buffer, initial_set=first, **SILENT).set)
    assert second.set.provenance.initial_set is not None
    assert not equal(first.set, second.set)


def test_a_run_of_data_in_memory_is_opened_with_them(data: FeatureSet, tmp_path: Path) -> None:
    result = distill(data, config=small_config(), folder=tmp_path / "RUN", **SILENT)
    run = open_run(tmp_path / "RUN")
    assert run.location is None
    assert equal(run.distilled(), result.set)
    assert run.data(data).modalities == data.modalities
    with pytest.raises(InputError, match="the data of this run were not stored; pass them with data"):
        run.data()
    with pytest.raises(InputError, match=r"the data: not the data of .*RUN"):
        run.data(features(seed=5))
    with pytest.raises(InputError, match="not the data of"):
        run.data(features(2))


def test_what_needs_a_folder_says_so(data: FeatureSet) -> None:
    config = small_config()
    with pytest.raises(InputError, match="resume=True needs the folder of the run"):
        distill(data, config=config, resume=True, **SILENT)
    with pytest.raises(InputError, match="tracker 'tensorboard': a tracker needs an output folder"):
        distill(data, config=config, trackers=["tensorboard"], **SILENT)
    with pytest.raises(InputError, match="tracker 'tensorboard': a tracker needs an output folder"):
        train_experts(data, config=config, trackers=["tensorboard"], **SILENT)


def test_an_interruption_is_passed_on(data: FeatureSet) -> None:
    class Stop:
        """A progress that is interrupted after the first iteration."""

        def start(self, total: int, label: str, done: int = 0, seconds: float = 0.0) -> None:
            self.label = label

        def advance(self, n: int = 1, **fields: Any) -> None:
            if self.label.startswith("distill"):
                raise KeyboardInterrupt

        def note(self, line: str) -> None: ...

        def stop(self) -> None: ...

        def __enter__(self) -> Stop:
            return self

        def __exit__(self, *error: object) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        distill(data, config=small_config(), device="cpu", progress=Stop())
