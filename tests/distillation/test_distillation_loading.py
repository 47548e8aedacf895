"""A distilled set in a custom training loop: batches and heads are those of the recipe, and targets match the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from omnidistill.core.errors import InputError
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.paper_protocol import sgd_recipe
from small_runs import Loop, small_config


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    return Loop.make(tmp_path_factory.mktemp("experts"))


@pytest.fixture(scope="module", params=["any", "fixed"])
def distilled(request: pytest.FixtureRequest, loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> DistilledSet:
    """A set whose recipe leaves batches to a seed, or names them; in float64, so that only rounding is left out."""
    config = small_config("distill.student.kind=infonce", f"distill.order={request.param}", "distill.batch_size=4")
    made = loop.distill(tmp_path_factory.mktemp("run"), config).distilled
    recipe = made.recipe.evolve(step_sizes=(0.5, 1.0, 2.0), num_steps=9, momentum=0.5, weight_decay=0.01)
    return replace(made, tensors={name: x.double() for name, x in made.tensors.items()}).with_recipe(recipe)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_loop_over_the_batches_is_the_recipe(distilled: DistilledSet, loop: Loop, seed: int) -> None:
    start = {name: matrix.double() for name, matrix in loop.start.items()}
    heads = {name: matrix.clone().requires_grad_() for name, matrix in start.items()}
    rates = zip(heads.values(), sgd_recipe(distilled).step_sizes, strict=True)
    sgd = torch.optim.SGD([{"params": [w], "lr": rate} for w, rate in rates], momentum=0.5, weight_decay=0.01)
    for rows, targets in distilled.batches(seed):
        outputs = torch.stack([rows[name] @ heads[name].T for name in distilled.modalities])
        sgd.zero_grad()
        distilled.objective.value(outputs, targets).backward()  # type: ignore[no-untyped-call]
        sgd.step()
    trained = distilled.train(start, seed)
    for name, matrix in heads.items():
        torch.testing.assert_close(trained[name], matrix.detach(), rtol=0, atol=1e-6)
        assert not torch.allclose(trained[name], start[name], atol=1e-2)


def test_only_a_recipe_without_an_order_heeds_the_seed(distilled: DistilledSet) -> None:
    firsts = [torch.cat([rows["a"] for rows, _ in distilled.batches(seed)]) for seed in (0, 0, 1)]
    assert torch.equal(firsts[0], firsts[1])
    assert torch.equal(firsts[0], firsts[2]) is (sgd_recipe(distilled).order is not None)


def test_items_are_rows_and_batches_carry_their_similarity(distilled: DistilledSet) -> None:
    dataset, similarity = distilled.dataset(), distilled.similarity()
    assert len(dataset) == len(distilled)
    row, index = dataset[3]
    assert index == 3
    assert all(torch.equal(row[name], x[3]) for name, x in distilled.rows().items())
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(dataset, batch_size=6, shuffle=True, collate_fn=dataset.collate, generator=order)
    seen = []
    for rows, targets in loader:
        taken = [next(i for i in range(len(dataset)) if torch.equal(x, dataset.rows["a"][i])) for x in rows["a"]]
        assert all(torch.equal(rows[name], x[taken]) for name, x in distilled.rows().items())
        assert torch.equal(targets, similarity[taken][:, taken])
        seen += taken
    assert sorted(seen) == list(range(len(dataset)))
    assert seen != sorted(seen)


def test_heads_that_do_not_fit_are_refused(distilled: DistilledSet, loop: Loop) -> None:
    name = distilled.modalities[-1]
    cases = {
        f"no head for modality '{name}'": {other: w for other, w in loop.start.items() if other != name},
        f"the head of modality '{name}' has shape": {**loop.start, name: loop.start[name][:, 1:]},
    }
    for message, start in cases.items():
        with pytest.raises(InputError, match=f"heads to train on the set: {message}"):
            distilled.train(start)


def test_worker_processes_give_the_same_batches(distilled: DistilledSet) -> None:
    dataset = distilled.dataset()
    settings = {"batch_size": 5, "collate_fn": dataset.collate}
    order = torch.Generator().manual_seed(0)
    there = DataLoader(dataset, num_workers=1, multiprocessing_context="spawn", generator=order, **settings)
    for (rows, targets), (expected, similarity) in zip(
        there, DataLoader(dataset, generator=order, **settings), strict=True
    ):
        assert torch.equal(targets, similarity)
        assert all(torch.equal(rows[name], x) for name, x in expected.items())


def test_views_are_rows_too(loop: Loop, tmp_path: Path) -> None:
    made = loop.distill(tmp_path, small_config("distill.storage.views=2", "distill.storage.bits=4")).distilled
    assert len(made.dataset()) == 2 * made.size
    assert torch.equal(made.dataset().rows["b"], made.rows()["b"])
