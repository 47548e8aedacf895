from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from omnidistill.parametrisation import Plain

Normal = Callable[..., Tensor]


def test_plain_expands_to_the_rows_it_was_given(normal: Normal) -> None:
    rows = {"b": normal(3, 4).float(), "a": normal(3, 5, seed=1).float()}
    expanded = Plain().expand(Plain().init(rows))
    assert list(expanded) == ["b", "a"]
    for name, matrix in rows.items():
        assert torch.equal(expanded[name], matrix)


def test_plain_stores_a_copy(normal: Normal) -> None:
    rows = {"a": normal(3, 4)}
    before = rows["a"].clone()
    stored = Plain().init(rows)
    stored["a"].add_(1)
    assert torch.equal(rows["a"], before)


def test_plain_passes_gradients_through(normal: Normal) -> None:
    stored = {name: x.requires_grad_() for name, x in Plain().init({"a": normal(3, 4)}).items()}
    weights = normal(3, 4, seed=1)
    (gradient,) = torch.autograd.grad((Plain().expand(stored)["a"] * weights).sum(), stored["a"])
    assert torch.equal(gradient, weights)
