"""Sets with few bits and several views have the expected number of bytes, and train the same heads after loading."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from method_problems import task_of, tiny
from omnidistill.core.errors import NotFiniteError
from omnidistill.data.featureset import FeatureSet
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.paper_protocol import sgd_recipe
from omnidistill.experiments.config import RunConfig
from omnidistill.io.artifacts import load_artifact
from omnidistill.models.storages import Plain, RowStorage, Views
from omnidistill.report.instances import trace_instances
from omnidistill.testing import check_method
from small_runs import InterruptAfter, Loop, contents, features, records, shipped, small_config, widths

FOUR_BITS = ("distill.storage.bits=4", "distill.storage.views=2")
WIDTHS = widths(3)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module")
def distilled(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    """10 stored rows of 4 bits, 20 rows to train on."""
    return loop.distill(tmp_path_factory.mktemp("run"), small_config("distill.iterations=12", *FOUR_BITS)).distilled


def grouped() -> FeatureSet:
    """Training rows two to a group, in such an order that 10 random ones share groups."""
    return features(3, {"heads": 12, "train": 12, "validation": 12, "test": 12})


@pytest.mark.parametrize("bits", [16, 8, 6, 4, 3, 2])
def test_bytes_follow_from_the_bits(bits: int, loop: Loop, tmp_path: Path) -> None:
    """10 rows, with one step per row below 16 bits; the similarity has one number per row to train on. Also on disk."""
    config = small_config(f"distill.storage.bits={bits}", "distill.storage.views=2", "distill.similarity.kind=diagonal")
    made = loop.distill(tmp_path, config, validated=False).distilled
    rows = sum(10 * (-(-width * bits // 8) + 4 * (bits < 16)) for width in WIDTHS.values())
    assert sum(x.nbytes for x in made.tensors.values()) == rows + 4 * 20
    assert made.bytes == shipped(tmp_path / "distilled") > rows + 4 * 20
    stored = load_artifact(tmp_path / "distilled", "distilled").tensors
    assert sum(x.numel() * x.element_size() for name, x in stored.items() if name.startswith("rows/")) == rows


def test_views_are_rows_to_train_on_without_bytes(distilled: DistilledSet) -> None:
    assert (len(distilled), distilled.size) == (20, 10)
    assert distilled.spec.storage == RowStorage(bits=4, views=2)
    patterns = Views(Plain(), 2)
    for name, rows in distilled.rows().items():
        assert rows.shape == (20, WIDTHS[name])
        assert torch.equal(rows[10:], rows[:10] * patterns.signs(name, WIDTHS[name])[1])
    assert distilled.similarity().shape == (20, 20)
    assert len(distilled.as_features()) == 20
    assert len(distilled.provenance.initial_ids) == 10


def test_a_loaded_set_trains_the_same_heads(distilled: DistilledSet, loop: Loop, tmp_path: Path) -> None:
    distilled.save(tmp_path)
    again = DistilledSet.load(tmp_path)
    trained = distilled.train(loop.start, 3)
    assert all(torch.equal(matrix, trained[name]) for name, matrix in again.train(loop.start, 3).items())
    assert all(torch.equal(rows, distilled.rows()[name]) for name, rows in again.rows().items())


def test_all_rows_are_trained_on(loop: Loop, tmp_path: Path) -> None:
    """A batch may have more rows than are stored, and students depend on the views."""
    config = small_config("distill.batch_size=16", *FOUR_BITS)
    made = loop.distill(tmp_path, config).distilled
    assert sgd_recipe(made).batch_size == 16
    rows = {f"rows/{name}": x for name, x in made.rows().items()}
    similarity = {name: x for name, x in made.tensors.items() if name.startswith("similarity/")}
    spec = dataclasses.replace(made.spec, size=20, storage=RowStorage())
    plain = dataclasses.replace(made, spec=spec, tensors={**rows, **similarity})
    trained = plain.train(loop.start)
    assert all(torch.equal(matrix, trained[name]) for name, matrix in made.train(loop.start).items())
    rows["rows/a"] = torch.cat([rows["rows/a"][:10], rows["rows/a"][10:] + 1])
    other = dataclasses.replace(plain, tensors={**rows, **similarity}).train(loop.start)
    assert not torch.equal(other["a"], trained["a"])


def test_validation_and_losses_see_the_rows_as_they_are_stored(loop: Loop, tmp_path: Path) -> None:
    """The first set that is validated has its initial rows in two bits; the losses are those of two-bit rows too."""
    two, all_bits = (f"distill.storage.bits={bits}" for bits in (2, 32))
    seen: list[DistilledSet] = []

    def validate(distilled: DistilledSet) -> object:
        seen.append(distilled)
        return loop.validate(distilled)

    loop.distill(tmp_path / "two", small_config(two), validate=validate)  # type: ignore[arg-type]
    loop.distill(tmp_path / "all", small_config(all_bits))
    assert all(len(rows[0].unique()) <= 3 for rows in seen[0].rows().values())
    assert records(tmp_path / "two")[1]["loss"] != records(tmp_path / "all")[1]["loss"]
    assert not torch.equal(seen[0].rows()["a"], seen[-1].rows()["a"])


def test_interrupted_often_equals_uninterrupted(loop: Loop, tmp_path: Path) -> None:
    config = small_config("distill.iterations=6", "distill.validate_every=2", "distill.average=0.5", *FOUR_BITS)

    loop.distill(tmp_path / "whole", config)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            loop.distill(tmp_path / "parts", config, resume=True, progress=InterruptAfter(2, 3))
    loop.distill(tmp_path / "parts", config, resume=True)
    assert contents(tmp_path / "parts" / "distilled") == contents(tmp_path / "whole" / "distilled")
    assert records(tmp_path / "parts") == records(tmp_path / "whole")


@pytest.mark.parametrize("bits", [16, 3])
def test_rounding_does_not_hide_rows_that_are_not_finite(bits: int, loop: Loop, tmp_path: Path) -> None:
    rates = 'distill.optimiser={kind="sgd", rows=1e30, similarity=1.0, step_sizes=1e-4}'
    config = small_config("distill.iterations=60", "distill.schedule=constant", rates, f"distill.storage.bits={bits}")
    with pytest.raises(NotFiniteError):
        loop.distill(tmp_path, config)
    kept = DistilledSet.load(tmp_path / "last-good")
    assert all(bool(rows.isfinite().all()) for rows in kept.rows().values())


@pytest.mark.parametrize("preset", ["hopa", "random", "covmatch"])
def test_methods_keep_the_contract(preset: str, tmp_path: Path) -> None:
    config = tiny(preset, *FOUR_BITS)
    check_method(config.distill, task_of(tmp_path, config))


def chosen(folder: Path, config: RunConfig) -> DistilledSet:
    return config.distill.run(task_of(folder, config, grouped())).distilled


def test_chosen_rows_are_stored_and_tuned_like_learned_ones(tmp_path: Path) -> None:
    plain, made = chosen(tmp_path / "plain", tiny("random")), chosen(tmp_path / "made", tiny("random", *FOUR_BITS))
    storage = made.spec.storage
    assert made.provenance.initial_ids == plain.provenance.initial_ids
    for name, rows in plain.rows().items():
        expected = storage.load(storage.store({name: rows}))[name]
        assert torch.equal(made.rows()[name], expected)
        assert not torch.equal(expected[:10], rows)
    assert made.provenance.validation is not None


def test_a_view_is_a_positive_only_of_the_same_view_of_its_group(tmp_path: Path) -> None:
    plain, made = chosen(tmp_path / "plain", tiny("random")), chosen(tmp_path / "made", tiny("random", *FOUR_BITS))
    once = plain.similarity()
    assert once.sum() > 10
    assert torch.equal(made.similarity(), torch.block_diag(once, once))


def test_the_page_shows_the_stored_rows(distilled: DistilledSet, loop: Loop) -> None:
    train = loop.data.split("train")
    assert [instance.index for instance in trace_instances(distilled, train)] == list(range(10))
