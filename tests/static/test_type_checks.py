"""In the tests, the first calls of the library are checked: types, shapes, and sizes that share a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from omnidistill.data.planted import planted
from omnidistill.evaluation.intervals import mean_std
from omnidistill.evaluation.student_t import quantile
from omnidistill.models.heads import random_heads
from type_checks import FIRST_CALLS, checked, start_test


@checked(typechecker=beartype)
def product(a: Float[Tensor, "m k"], b: Float[Tensor, "k n"], result: Tensor) -> Float[Tensor, "m n"]:
    return result


@checked(typechecker=beartype)
def inner(a: Float[Tensor, " n"]) -> None:
    outer_of(torch.ones(2), torch.ones(2))


@checked(typechecker=beartype)
def outer_of(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> None:
    if len(a) > 2:
        inner(a)
    assert isinstance(b, Float[Tensor, " n"])


@checked(typechecker=beartype)
def of_width(width: int) -> Float[Tensor, "{width}"]:  # noqa: UP037
    return torch.ones(3)


@checked(typechecker=beartype)
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@checked(typechecker=beartype)
@dataclass
class Pair:
    a: Float[Tensor, " n"]
    b: Float[Tensor, " n"]


def test_sizes_that_share_a_name_are_equal() -> None:
    a, b = torch.ones(2, 3), torch.ones(3, 4)
    product(a, b, torch.ones(2, 4))
    for arguments in ((a, b.T, torch.ones(2, 3)), (a, b, torch.ones(2, 3)), (a, b[0], torch.ones(2, 4))):
        with pytest.raises(TypeCheckError):
            product(*arguments)
    with pytest.raises(TypeCheckError):
        product(a.long(), b, torch.ones(2, 4))


def test_a_size_is_that_of_its_own_call() -> None:
    outer_of(torch.ones(3), torch.ones(3))
    with pytest.raises(TypeCheckError):
        outer_of(torch.ones(3), torch.ones(2))


def test_a_size_that_an_argument_gives() -> None:
    of_width(3)
    with pytest.raises(TypeCheckError):
        of_width(4)


def test_arguments_of_a_generator_are_checked_when_it_is_called() -> None:
    assert list(numbers(2)) == [0, 1]
    with pytest.raises(TypeCheckError):
        numbers("2")  # type: ignore[arg-type]


def test_fields_of_a_dataclass() -> None:
    Pair(torch.ones(2), b=torch.ones(2))
    with pytest.raises(TypeCheckError):
        Pair(torch.ones(2), b=torch.ones(3))


def test_the_first_calls_in_every_test_are_checked() -> None:
    a, b = torch.ones(2, 3), torch.ones(3, 4)
    for _ in range(FIRST_CALLS - 1):
        product(a, b, torch.ones(2, 4))
    with pytest.raises(TypeCheckError):
        product(a, b, torch.ones(2, 3))
    product(a, b, torch.ones(2, 3))
    start_test()
    with pytest.raises(TypeCheckError):
        product(a, b, torch.ones(2, 3))


def test_the_library_is_checked() -> None:
    for call in (
        lambda: mean_std(torch.ones(2, 2)),
        lambda: quantile("0.95", 3.0),  # type: ignore[arg-type]
        lambda: random_heads({"a": "wide"}, 8, torch.Generator()),  # type: ignore[dict-item]
        lambda: planted([1], {}),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeCheckError):
            call()
