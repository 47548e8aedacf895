"""The recipe "sgd": the mini-batches it draws, and students as torch.optim.SGD trains them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnidistill.core.errors import InputError
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.recipes import Recipe, Sgd, TrainingRows, recipes

RECIPE = Sgd(step_sizes=(0.2, 0.6), num_steps=6, batch_size=3)
NUM_ROWS = 7


def problem() -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return start heads, rows and a similarity of two modalities, in float64."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    widths = {"text": 5, "image": 6}
    start = {name: normal(4, p) for name, p in widths.items()}
    rows = {name: normal(NUM_ROWS, p) for name, p in widths.items()}
    return start, rows, torch.eye(NUM_ROWS, dtype=torch.float64) + 0.1


def train(recipe: Sgd, seed: int = 0, num_runs: int = 1, checkpoints: tuple[int, ...] = ()) -> list[Any]:
    start, rows, similarity = problem()
    return [
        (steps, {name: matrix.clone() for name, matrix in heads.items()})
        for steps, heads in recipe.students(
            start,
            TrainingRows(rows, lambda each: similarity[each.unsqueeze(-1), each.unsqueeze(-2)], InfoNCE()),
            seed=seed,
            num_runs=num_runs,
            checkpoints=checkpoints or (recipe.num_steps,),
        )
    ]


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.7, "weight_decay": 0.05}], ids=str)
@pytest.mark.parametrize("order", [None, 4])
def test_students_are_those_of_torch_sgd(order: int | None, settings: dict[str, float]) -> None:
    """One parameter group per modality, the batches of `batches`, gradients by autograd."""
    recipe = RECIPE.evolve(order=order, **settings)
    start, rows, similarity = problem()
    heads = {name: matrix.clone().requires_grad_() for name, matrix in start.items()}
    groups = [{"params": [w], "lr": rate} for w, rate in zip(heads.values(), recipe.step_sizes, strict=True)]
    sgd = torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    for batch in recipe.batches(NUM_ROWS, seed=2):
        outputs = torch.stack([rows[name][batch] @ heads[name].T for name in heads])
        sgd.zero_grad()
        InfoNCE().value(outputs, similarity[batch][:, batch]).backward()  # type: ignore[no-untyped-call]
        sgd.step()
    ((steps, trained),) = train(recipe, seed=2)
    assert steps == 6
    for name, matrix in heads.items():
        torch.testing.assert_close(trained[name][0], matrix.detach(), rtol=0, atol=1e-10)
        assert not torch.allclose(trained[name][0], start[name], atol=1e-2)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.7, "weight_decay": 0.05}, {"decay_after": 2}, {"decay_after": 4, "momentum": 0.9, "order": 1}],
    ids=str,
)
def test_linear_modules_train_like_heads(settings: dict[str, Any]) -> None:
    """Heads by the students' own steps, modules by torch.optim.SGD with autograd, in place."""
    recipe = RECIPE.evolve(**settings)
    start, rows, similarity = problem()
    modules: dict[str, nn.Module] = {}
    for name, matrix in start.items():
        module = nn.utils.skip_init(nn.Linear, matrix.shape[1], matrix.shape[0], bias=False, dtype=torch.float64)
        module.weight.data = matrix.clone()
        modules[name] = module
    data = TrainingRows(rows, lambda each: similarity[each.unsqueeze(-1), each.unsqueeze(-2)], InfoNCE())
    recipe.train_modules(modules, data, seed=2)
    ((_, heads),) = train(recipe, seed=2)
    for name, module in modules.items():
        (weight,) = module.parameters()
        torch.testing.assert_close(weight.detach(), heads[name][0], rtol=0, atol=1e-10)
        assert not torch.allclose(weight, start[name], atol=1e-2)


def test_modules_that_share_parameters_are_refused() -> None:
    _, rows, _ = problem()
    shared = nn.utils.skip_init(nn.Linear, 5, 4, dtype=torch.float64)
    data = TrainingRows({name: x[:, :5] for name, x in rows.items()}, lambda each: each, InfoNCE())
    with pytest.raises(
        InputError,
        match="modules share parameters, but the training recipe 'sgd' has a separate step size per modality",
    ):
        RECIPE.train_modules({"text": shared, "image": shared}, data, seed=0)


def test_every_batch_has_distinct_rows() -> None:
    batches = RECIPE.batches(NUM_ROWS, seed=0)
    assert batches.shape == (6, 3)
    assert all(len(set(batch)) == 3 and set(batch) <= set(range(NUM_ROWS)) for batch in batches.tolist())
    assert torch.equal(RECIPE.batches(NUM_ROWS, seed=0), batches)


def test_the_seed_decides_unless_the_recipe_names_an_order() -> None:
    for order, same in ((None, False), (0, True)):
        recipe = RECIPE.evolve(order=order)
        assert torch.equal(recipe.batches(NUM_ROWS, 0), recipe.batches(NUM_ROWS, 1)) is same
        ((_, heads),) = train(recipe, num_runs=2)
        assert heads["text"].shape == (2, 4, 5)
        assert torch.equal(heads["text"][0], heads["text"][1]) is same
    other = RECIPE.evolve(order=1).batches(NUM_ROWS, 0)
    assert not torch.equal(other, RECIPE.evolve(order=0).batches(NUM_ROWS, 0))


def test_the_first_student_is_the_single_one() -> None:
    ((_, one),), ((_, three),) = train(RECIPE, seed=3), train(RECIPE, seed=3, num_runs=3)
    torch.testing.assert_close(three["image"][:1], one["image"])


def test_heads_are_given_at_every_checkpoint() -> None:
    found = train(RECIPE, checkpoints=(1, 4, 9))  # checkpoints may exceed the steps of the recipe
    assert [steps for steps, _ in found] == [1, 4, 9]
    for steps, heads in found:
        ((_, alone),) = train(RECIPE.evolve(num_steps=steps))
        torch.testing.assert_close(heads["text"], alone["text"])


def test_it_is_the_recipe_of_this_name() -> None:
    tree = {"kind": "sgd", "step_sizes": [0.2, 0.6], "num_steps": 6, "batch_size": 3}
    assert recipes.build(tree) == RECIPE
    assert isinstance(RECIPE, Recipe)
    assert RECIPE.title == "6 steps of 3 rows, step sizes 0.2, 0.6"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": -1}, "num_steps: Input should be greater than or equal to 0"),
        ({"batch_size": 0}, "batch_size: Input should be greater than or equal to 1"),
        ({"step_sizes": (0.1, float("nan"))}, r"step_sizes\.1: Input should be a finite number"),
        ({"order": -2}, "order: Input should be greater than or equal to 0"),
        ({"warmup": 3}, "warmup: Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        RECIPE.evolve(**changes)
