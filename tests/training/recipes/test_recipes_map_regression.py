"""The recipe "map": modules learn the heads of the recipe "anchor" on mixtures of the rows and noise."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recipe_problems import RIDGES, WIDTHS, generator, normal, relative_error, rows_of, training_rows
from torch import Tensor, nn

from omnidistill.core.errors import InputError
from omnidistill.core.streams import Streams
from omnidistill.training.recipes import recipes
from omnidistill.training.recipes.anchor_regression import Anchor
from omnidistill.training.recipes.map_regression import MapRegression

NUM_ROWS = 6
RECIPE = MapRegression(ridges=RIDGES, num_steps=400, learning_rate=1e-2, batch_size=64)
ROWS = {name: x.float() for name, x in rows_of(NUM_ROWS).items()}
DATA = training_rows(ROWS)


def linear(width: int, bias: bool = False) -> dict[str, nn.Module]:
    """Modules with weights from a generator of their own."""
    return {name: drawn(nn.Linear(p, width, bias=bias)) for name, p in WIDTHS.items()}


def networks(width: int, hidden: int = 64) -> dict[str, nn.Module]:
    return {
        name: drawn(nn.Sequential(nn.Linear(p, hidden), nn.GELU(), nn.Linear(hidden, width)))
        for name, p in WIDTHS.items()
    }


def drawn(module: nn.Module) -> nn.Module:
    for seed, parameter in enumerate(module.parameters()):
        fresh = torch.randn(parameter.shape, generator=generator(seed)) / max(parameter.shape[-1], 1) ** 0.5
        parameter.data = fresh
    return module


@pytest.fixture(autouse=True)
def _layers_draw_from_their_own_state() -> Any:
    """torch initialises layers from its global random state, which tests must not change."""
    with torch.random.fork_rng():
        yield


def weights(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.{key}": x.clone() for name, each in modules.items() for key, x in each.state_dict().items()}


def same(one: dict[str, nn.Module], other: dict[str, nn.Module]) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(x, right[key]) for key, x in left.items())


def trained(recipe: MapRegression, modules: dict[str, nn.Module], seed: int = 0) -> dict[str, nn.Module]:
    copies = copy.deepcopy(modules)
    recipe.train_modules(copies, DATA, seed=seed)
    return copies


def errors(modules: dict[str, nn.Module], width: int, cutoff: float | None = None) -> list[float]:
    """Relative errors to the anchor map on inputs that no step has seen, in the scale of the rows."""
    heads = Anchor(ridges=RIDGES, cutoff=cutoff).heads(DATA, width)
    with torch.no_grad():
        inputs = {name: normal(200, p, seed=77).float() for name, p in WIDTHS.items()}
        return [relative_error(modules[name](x), x @ heads[name].T) for name, x in inputs.items()]


@pytest.mark.parametrize(
    ("width", "mixture", "cutoff"), [(3, 0.0, None), (NUM_ROWS, 0.0, None), (8, 0.5, None), (NUM_ROWS, 0.5, 2.0)]
)
def test_linear_modules_reach_the_anchor_map(width: int, mixture: float, cutoff: float | None) -> None:
    recipe = RECIPE.evolve(mixture=mixture, num_steps=800, learning_rate=0.03, cutoff=cutoff)
    modules = trained(recipe, linear(width))
    assert max(errors(modules, width, cutoff)) < 0.01
    assert min(errors(linear(width), width, cutoff)) > 1
    copies = linear(width)
    Anchor(ridges=RIDGES, cutoff=cutoff).train_modules(copies, DATA, seed=0)
    own = MapRegression(ridges=RIDGES, cutoff=cutoff)
    assert same(copies, trained(own, linear(width)))


def test_networks_learn_the_map_and_not_the_rows_alone() -> None:
    modules = trained(RECIPE, networks(NUM_ROWS))
    assert max(errors(modules, NUM_ROWS)) < 0.35
    assert min(errors(networks(NUM_ROWS), NUM_ROWS)) > 0.9


def test_the_loss_is_the_relative_error_and_its_first_step_is_that_of_adamw() -> None:
    """One step by hand: inputs by the equation, AdamW without weight decay at the complete learning rate."""
    recipe, modules = RECIPE.evolve(num_steps=1, mixture=0.3), linear(4)
    expected = {}
    for name, x in ROWS.items():
        draw, scale = Streams(5)[f"map/{name}/0"], x.square().mean().sqrt()
        share = torch.randn(64, NUM_ROWS, generator=draw) / NUM_ROWS**0.5
        noise = torch.randn(64, x.shape[1], generator=draw)
        inputs = 0.3**0.5 * share @ x + 0.7**0.5 * scale * noise
        target = inputs @ Anchor(ridges=RIDGES).heads(DATA, 4)[name].T
        (weight,) = modules[name].parameters()
        error = (inputs @ weight.T - target).square().mean() / target.square().mean()
        (gradient,) = torch.autograd.grad(error, [weight])
        expected[name] = weight.detach() - 1e-2 * gradient / (gradient.abs() + 1e-8)
    for name, module in trained(recipe, modules, seed=5).items():
        (weight,) = module.parameters()
        torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-4, atol=1e-5)


def test_inputs_have_the_variance_of_the_rows_at_every_mixture() -> None:
    x = 3 * ROWS["a"]
    for mixture in (0.0, 0.5, 1.0):
        inputs = RECIPE.evolve(mixture=mixture, batch_size=20_000).inputs(x, generator(1))
        assert float(inputs.square().mean()) == pytest.approx(float(x.square().mean()), rel=0.03)
        rank = int(torch.linalg.matrix_rank(inputs[:100].double(), rtol=1e-5))
        assert rank == (NUM_ROWS if mixture == 1 else WIDTHS["a"])


def test_without_mixtures_rows_count_only_by_their_map_and_their_scale() -> None:
    """Rows and their rotation, whose map is rotated, too: inputs are the same, so rotated modules stay rotated."""
    basis = torch.linalg.qr(normal(NUM_ROWS, NUM_ROWS, seed=3)).Q.float()
    recipe = RECIPE.evolve(mixture=0.0, batch_size=16)
    for x in ROWS.values():
        torch.testing.assert_close(recipe.inputs(x, generator(2)), recipe.inputs(basis.T @ x, generator(2)))
    mixed = RECIPE.evolve(mixture=0.5, batch_size=16)
    assert not torch.allclose(
        mixed.inputs(ROWS["a"], generator(2)), mixed.inputs(basis.T @ ROWS["a"], generator(2)), atol=0.1
    )


def test_a_seed_decides_every_bit() -> None:
    recipe = RECIPE.evolve(num_steps=3)
    start = networks(4)
    one, again, other = trained(recipe, start, 1), trained(recipe, start, 1), trained(recipe, start, 2)
    assert same(one, again)
    assert not same(one, other)


def test_no_steps_leave_the_modules_unchanged() -> None:
    start = networks(4)
    assert same(trained(RECIPE.evolve(num_steps=0), start), start)


def test_students_are_linear_modules_at_their_checkpoints() -> None:
    """The first student is `train_modules`; the others see other inputs; nothing changes after the last step."""
    recipe = RECIPE.evolve(num_steps=5)
    start = {name: normal(4, p, seed=p).float() for name, p in WIDTHS.items()}
    before = {name: w.clone() for name, w in start.items()}
    found = list(recipe.students(start, DATA, seed=3, num_runs=2, checkpoints=[2, 5, 9]))
    assert [steps for steps, _ in found] == [2, 5, 9]
    (_, early), (_, last), (_, later) = found
    modules = linear(4)
    for name, module in modules.items():
        (weight,) = module.parameters()
        weight.data = start[name].clone()
    for name, module in trained(recipe, modules, seed=3).items():
        (weight,) = module.parameters()
        assert torch.equal(last[name][0], weight)
        assert not torch.equal(last[name][0], last[name][1])
        assert not torch.equal(early[name], last[name])
        assert torch.equal(later[name], last[name])
        assert torch.equal(start[name], before[name])


def test_batch_normalisation_and_shared_layers_can_be_trained() -> None:
    shared = nn.Linear(16, 4)
    modules: dict[str, nn.Module] = {
        name: nn.Sequential(nn.Linear(p, 16), nn.BatchNorm1d(16), shared) for name, p in WIDTHS.items()
    }
    RECIPE.evolve(num_steps=2).train_modules(modules, DATA, seed=0)
    for module in modules.values():
        assert isinstance(module, nn.Sequential)
        assert module[2] is shared
        assert int(module[1].num_batches_tracked) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": 1.1}, "mixture: Input should be less than or equal to 1"),
        ({"batch_size": 0}, "batch_size: Input should be greater than or equal to 1"),
        ({"learning_rate": 0.0}, "learning_rate: Input should be greater than 0"),
        ({"num_steps": -1}, "num_steps: Input should be greater than or equal to 0"),
        ({"ridges": ()}, "ridges: Tuple should have at least 1 item"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RECIPE.evolve(**changes)


def test_it_is_the_recipe_of_this_name() -> None:
    assert recipes.build({"kind": "map", "ridges": [0.1, 0.3]}) == MapRegression(ridges=RIDGES)
    assert RECIPE.title == "map, 400 steps"
    with pytest.raises(InputError, match="recipe 'map' needs initial heads; pass them"):
        RECIPE.heads(DATA)


def test_modules_learn_given_heads_without_rows() -> None:
    """The inputs are noise, so linear modules learn all of the heads, also what no row of a set could show."""
    heads = {name: normal(4, p, seed=p).float() for name, p in WIDTHS.items()}
    modules = linear(4)
    RECIPE.evolve(num_steps=1500).train_towards(modules, heads, seed=2)
    for name, module in modules.items():
        (weight,) = module.parameters()
        assert relative_error(weight.detach(), heads[name]) < 0.02
