"""`DistilledSet.train` in all its forms: new heads, stacked heads, trained heads and modules; and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnidistill.core.errors import InputError
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import DistilledSet, SetSpec
from omnidistill.models.heads import project, random_heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.similarities import FixedIdentity
from omnidistill.models.storages import RowStorage
from omnidistill.training.closed_form.anchor_map import anchor_map
from omnidistill.training.recipes import Recipe, Sgd
from omnidistill.training.recipes.anchor_regression import Anchor, stack_on
from omnidistill.training.recipes.map_regression import MapRegression
from simulated_device import simulated_device

WIDTHS = {"text": 9, "image": 12, "audio": 7}
SIZE, WIDTH = 6, 4
ANCHOR = Anchor(ridges=(0.1, 0.2, 0.3), weight=0.6)
MAP = MapRegression(ridges=(0.1, 0.2, 0.3), num_steps=20, learning_rate=0.01, batch_size=16)
SGD = Sgd(step_sizes=(0.2, 0.4, 0.6), num_steps=5, batch_size=3)


def set_with(recipe: Recipe) -> DistilledSet:
    draw = torch.Generator().manual_seed(0)
    rows = {f"rows/{name}": torch.randn(SIZE, p, generator=draw) for name, p in WIDTHS.items()}
    spec = SetSpec(WIDTHS, SIZE, RowStorage(), FixedIdentity(), InfoNCE(), recipe)
    return DistilledSet(rows, spec, Preprocessing(False, 1e-5, {}))


def heads() -> dict[str, Tensor]:
    return random_heads(WIDTHS, WIDTH, torch.Generator().manual_seed(1))


def layer(p: int, width: int, **options: Any) -> nn.Linear:
    """A linear layer whose weights come from a generator of their own."""
    module: nn.Linear = nn.utils.skip_init(nn.Linear, p, width, **options)
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)).to(parameter)
    return module


def modules(width: int = WIDTH, **options: Any) -> dict[str, nn.Module]:
    return {name: layer(p, width, **options) for name, p in WIDTHS.items()}


def numbers(models: Mapping[str, Tensor] | Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {
        f"{name}.{key}": x.clone()
        for name, each in models.items()
        for key, x in (each.state_dict() if isinstance(each, nn.Module) else {"": each}).items()
    }


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def shapes(result: Mapping[str, Tensor]) -> set[int]:
    """Widths of heads, whose modalities and input widths must be those of the set."""
    assert {name: matrix.shape[1] for name, matrix in result.items()} == WIDTHS
    assert list(result) == list(WIDTHS)
    return {len(matrix) for matrix in result.values()}


def test_without_a_start_heads_are_the_anchor_map() -> None:
    distilled = set_with(ANCHOR)
    result = distilled.train()
    assert shapes(result) == {SIZE}
    for (name, matrix), ridge in zip(result.items(), ANCHOR.ridges, strict=True):
        expected = anchor_map(distilled.rows()[name].double(), ridge)
        torch.testing.assert_close(matrix.double(), expected, rtol=1e-5, atol=1e-6)
    narrow, wide = distilled.train(width=2), distilled.train(width=20)
    assert equal(narrow, {name: matrix[:2] for name, matrix in result.items()})
    assert shapes(wide) == {20}
    products = [each["text"].T @ each["image"] for each in (wide, result)]
    torch.testing.assert_close(products[0], products[1])


def test_given_heads_are_stacked_and_cut_to_a_width() -> None:
    distilled, start = set_with(ANCHOR), heads()
    result = distilled.train(start)
    assert equal(result, stack_on(start, distilled.train(), distilled.rows(), 0.6))
    assert shapes(result) == {SIZE + WIDTH}
    assert shapes(distilled.train(start, width=WIDTH)) == {WIDTH}
    outputs, complete = (project(h, distilled.rows()) for h in (distilled.train(start, width=SIZE + WIDTH), result))
    torch.testing.assert_close(outputs["text"] @ outputs["audio"].T, complete["text"] @ complete["audio"].T)


@pytest.mark.parametrize("recipe", [ANCHOR, MAP, SGD], ids=lambda recipe: recipe.kind)
def test_modules_are_trained_as_copies(recipe: Recipe) -> None:
    distilled, start = set_with(recipe), modules()
    before, rows = numbers(start), numbers(distilled.rows())
    result = distilled.train(start)
    assert equal(numbers(start), before)
    assert equal(numbers(distilled.rows()), rows)
    assert list(result) == list(WIDTHS)
    after = numbers(result)
    assert not any(torch.equal(after[name], x) for name, x in before.items() if name.endswith("weight"))
    assert equal(numbers(distilled.train(start)), after)
    expected = copy.deepcopy(start)
    recipe.train_modules(expected, distilled.training_rows(), seed=0)
    assert equal(numbers(expected), after)


@pytest.mark.parametrize("recipe", [ANCHOR, MAP, SGD], ids=lambda recipe: recipe.kind)
@pytest.mark.parametrize("width", [None, 3])
def test_heads_are_not_modified(recipe: Recipe, width: int | None) -> None:
    distilled, start = set_with(recipe), heads()
    before = numbers(start)
    if width is None or recipe is ANCHOR:
        shapes(distilled.train(start, width=width))
    assert equal(numbers(start), before)


def test_sgd_and_map_train_heads_of_their_own_width() -> None:
    for recipe in (SGD, MAP):
        result = set_with(recipe).train(heads())
        assert shapes(result) == {WIDTH}
        assert not equal(result, heads())


def test_another_recipe_can_replace_that_of_the_set() -> None:
    for own, other in ((SGD, ANCHOR), (ANCHOR, SGD), (SGD, MAP)):
        distilled = set_with(own)
        assert equal(distilled.train(heads(), recipe=other), set_with(other).train(heads()))
        assert distilled.recipe is own
        results = [
            numbers(each) for each in (distilled.train(modules(), recipe=other), set_with(other).train(modules()))
        ]
        assert equal(*results)
    assert equal(set_with(SGD).train(recipe=ANCHOR, width=2), set_with(ANCHOR).train(width=2))


@pytest.mark.parametrize("recipe", [ANCHOR, SGD], ids=lambda recipe: recipe.kind)
def test_modules_may_have_another_type_or_frozen_or_shared_parts(recipe: Recipe) -> None:
    distilled = set_with(recipe)
    exact = distilled.train(modules(dtype=torch.float64))
    assert {parameter.dtype for each in exact.values() for parameter in each.parameters()} == {torch.float64}
    for name, each in distilled.train(modules()).items():
        torch.testing.assert_close(numbers(exact)[f"{name}.weight"].float(), each.weight, rtol=1e-3, atol=1e-4)  # type: ignore[arg-type]
    frozen = modules()
    for each in frozen.values():
        each.get_parameter("weight").requires_grad_(False)
    result, before = numbers(distilled.train(frozen)), numbers(frozen)
    assert [name for name in before if not torch.equal(before[name], result[name])] == [
        f"{name}.bias" for name in WIDTHS
    ]


def test_shared_modules_stay_shared() -> None:
    last = layer(5, WIDTH)
    start: dict[str, nn.Module] = {name: nn.Sequential(layer(p, 5), last) for name, p in WIDTHS.items()}
    before = numbers({"last": last})
    result = set_with(ANCHOR).train(start)
    lasts = {id(each[1]) for each in result.values() if isinstance(each, nn.Sequential)}
    assert len(lasts) == 1
    assert lasts != {id(last)}
    assert equal(numbers({"last": last}), before)


class Raises(nn.Module):
    """A module that raises an error of two lines."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("the first line\nthe second line")


class Returns(Raises):
    """A module that returns something that is not b x d."""

    def __init__(self, result: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> Any:
        return self.result(x)


def with_text(module: nn.Module | None) -> dict[str, Any]:
    """Modules with another one for text, or none."""
    others: dict[str, Any] = {name: each for name, each in modules().items() if name != "text"}
    return others if module is None else {**others, "text": module}


@pytest.mark.parametrize(
    ("recipe", "start", "options", "message"),
    [
        (SGD, None, {}, r"training recipe 'sgd' needs initial heads; pass them, or use a set with the recipe 'anchor'"),
        (MAP, None, {}, r"recipe 'map' needs initial heads"),
        (SGD, heads(), {"width": 3}, r"width: training recipe 'sgd' keeps the output width of the given heads"),
        (
            ANCHOR,
            modules(),
            {"width": 3},
            r"width: the output width of the torch modules in `start` is fixed; omit this argument",
        ),
        (ANCHOR, None, {"width": 0}, r"width = 0: the width of heads must be at least 1"),
        (ANCHOR, {}, {}, r"no head for modality 'text'"),
        (
            ANCHOR,
            {**heads(), "image": heads()["text"]},
            {},
            r"'image' has shape \(4, 9\), expected \(output width, 12\)",
        ),
        (ANCHOR, {name: heads()[name] for name in ("text", "image")}, {"width": 3}, r"no head for modality 'audio'"),
        (
            ANCHOR,
            with_text(None),
            {},
            r"modality 'text': found no torch\.nn\.Module to train on the synthetic set; pass one module per modality",
        ),
        (SGD, with_text(heads()["text"]), {}, r"modality 'text': found no torch\.nn\.Module"),  # type: ignore[arg-type]
        (
            ANCHOR,
            with_text(nn.Flatten()),
            {},
            r"module of 'text' cannot be trained on .*: the module has no parameters",
        ),
        (SGD, with_text(layer(9, 4).requires_grad_(False)), {}, r"the module has no parameters to train"),
        (
            ANCHOR,
            with_text(layer(8, 4)),
            {},
            r"the module of 'text' cannot process rows of shape \(2, 9\) \(RuntimeError",
        ),
        (SGD, with_text(Raises()), {}, r"'text' cannot process .* \(RuntimeError: the first line the second line\)"),
        (
            MAP,
            with_text(Returns(lambda x: [x])),
            {},
            r"module of 'text' returns list for rows .*; pass .* of shape \(2, output width\)",
        ),
        (MAP, with_text(Returns(lambda x: x.sum(1))), {}, r"module of 'text' returns \(2,\) for rows"),
        (
            SGD,
            with_text(layer(9, 5)),
            {},
            r"modules have different widths \{'text': 5, 'image': 4, 'audio': 4\}",
        ),
        (
            SGD,
            heads(),
            {"recipe": Anchor(ridges=(0.1,))},
            r"recipe\.ridges has 1 values, but the synthetic set has 3 modalities",
        ),
        (ANCHOR, modules(), {"recipe": SGD.evolve(step_sizes=(0.1, 0.2))}, r"recipe\.step_sizes has 2 values"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(recipe: Recipe, start: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        set_with(recipe).train(start, **options)
    assert "\n" not in str(caught.value)


def test_rows_without_a_solution_are_one_clear_line() -> None:
    distilled = set_with(ANCHOR)
    zeros = replace(distilled, tensors={**distilled.tensors, "rows/image": torch.zeros(SIZE, 12)})
    with pytest.raises(InputError, match=r"ridge regression for modality 'image' failed; .* finite and not all zero"):
        zeros.train()


@pytest.mark.parametrize("recipe", [ANCHOR, SGD], ids=lambda recipe: recipe.kind)
@pytest.mark.parametrize("has_float64", [True, False])
def test_heads_are_trained_on_their_device(recipe: Recipe, has_float64: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_float64:
        monkeypatch.setattr("omnidistill.core.device._WITHOUT_FLOAT64", ("meta",))
    distilled = set_with(recipe)
    expected = distilled.train(heads())
    cut = distilled.train(heads(), width=3) if recipe is ANCHOR else expected
    with simulated_device(has_float64) as device:
        start = {name: matrix.to(device) for name, matrix in heads().items()}
        result = distilled.train(start)
        narrow = distilled.train(start, width=3) if recipe is ANCHOR else result
        assert {matrix.device for matrix in (*result.values(), *narrow.values())} == {device}
        result, narrow = ({name: matrix.cpu() for name, matrix in each.items()} for each in (result, narrow))
    assert equal(result, expected)
    assert equal(narrow, cut)


@pytest.mark.parametrize("width", [None, 4])
def test_given_heads_may_have_another_type(width: int | None) -> None:
    """They are converted to the type of the rows, and no gradient reaches them."""
    start, distilled = heads(), set_with(ANCHOR)
    exact = {name: matrix.double().requires_grad_() for name, matrix in start.items()}
    result = distilled.train(exact, width=width)
    assert equal(result, distilled.train(start, width=width))
    assert not any(matrix.requires_grad for matrix in result.values())


def test_stacked_heads_can_be_wider_than_both_parts() -> None:
    """The outputs are embedded without changing an inner product."""
    start, distilled = heads(), set_with(ANCHOR)
    stacked, wide = distilled.train(start), distilled.train(start, width=SIZE + WIDTH + 3)
    assert shapes(wide) == {SIZE + WIDTH + 3}
    for name, matrix in stacked.items():
        torch.testing.assert_close(wide[name].T @ wide[name], matrix.T @ matrix, rtol=1e-4, atol=1e-5)
