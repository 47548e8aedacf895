"""The recipe "anchor": any start leads to its closed form; given heads are stacked with it and cut back to a width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_problems import RIDGES, WIDTHS, cosines, generator, normal, relative_error, rows_of, training_rows
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.training.closed_form.anchor_map import anchor_map
from omnidistill.training.recipes import recipes
from omnidistill.training.recipes.anchor_regression import Anchor, cut, stack_on

RECIPE = Anchor(ridges=RIDGES)
NUM_ROWS = 7


def heads_of(width: int, seed: int = 0) -> dict[str, Tensor]:
    return {name: normal(width, p, seed=seed + p) for name, p in WIDTHS.items()}


def heavy_ball(x: Tensor, ridge: float, start: Tensor, num_steps: int, anchors: Tensor) -> Tensor:
    """Full-batch gradient descent on ||X W^T - D||^2 + lambda s ||W||^2, tuned to the extreme eigenvalues (Polyak)."""
    kernel = x @ x.T
    penalty = ridge * float(kernel.diagonal().mean())
    largest, smallest = float(torch.linalg.eigvalsh(kernel)[-1]) + penalty, penalty
    step = 4 / (math.sqrt(largest) + math.sqrt(smallest)) ** 2
    root = math.sqrt(largest / smallest)
    momentum = ((root - 1) / (root + 1)) ** 2
    w, velocity = start.clone(), torch.zeros_like(start)
    for _ in range(num_steps):
        gradient = (x @ w.T - anchors).T @ x + penalty * w
        velocity = momentum * velocity - step * gradient
        w = w + velocity
    return w


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.3, 1.0]), st.sampled_from([None, 5.0]))
def test_gradient_descent_reaches_the_closed_form_from_any_start(seed: int, ridge: float, cutoff: float | None) -> None:
    x, recipe = normal(20, 64, seed=seed), RECIPE.evolve(ridges=(ridge,), cutoff=cutoff)
    expected, anchors = recipe.heads(training_rows({"a": x}))["a"], torch.diag(recipe.lengths(20))
    for scale in (0.0, 1.0, 5.0):
        start = scale * normal(20, 64, seed=seed + 1) / 8  # random heads of variance 1 / p
        assert relative_error(heavy_ball(x, ridge, start, 60, anchors), expected) < 1e-4
        assert relative_error(start, expected) > 0.5


def test_mini_batches_reach_the_recall_of_the_closed_form() -> None:
    """Plain SGD on batches of 10 of the 40 rows, whose step falls to zero; R@1 on planted pairs."""
    widths = {"a": 48, "b": 40}
    mixing = {name: normal(16, p, seed=p) for name, p in widths.items()}

    def pairs(num_rows: int, seed: int) -> dict[str, Tensor]:
        z = normal(num_rows, 16, seed=seed)
        return {name: z @ a + 1.5 * normal(num_rows, widths[name], seed=seed + 1) for name, a in mixing.items()}

    rows, queries, size = pairs(40, 1), pairs(1500, 5), 40
    expected, trained = RECIPE.heads(training_rows(rows)), {}
    for (name, x), ridge in zip(rows.items(), RIDGES, strict=True):
        kernel, draw = x @ x.T, generator(3)
        penalty = ridge * float(kernel.diagonal().mean())
        largest = float(torch.linalg.eigvalsh(kernel)[-1]) + penalty
        w, total = normal(size, x.shape[1], seed=9) / 7, 4000
        for step in range(total):
            batch = torch.randperm(size, generator=draw)[:10]
            residual = x[batch] @ w.T - torch.eye(size, dtype=x.dtype)[batch]
            w = w - (1 - step / total) / largest * (4 * residual.T @ x[batch] + penalty * w)
        trained[name] = w

    def recall(heads: Mapping[str, Tensor]) -> float:
        hits = cosines(heads, queries)
        own = torch.arange(len(hits))
        return 50 * float((hits.argmax(1) == own).double().mean() + (hits.argmax(0) == own).double().mean())

    assert 10 < recall(expected) < 95
    assert abs(recall(trained) - recall(expected)) < 0.3


def test_heads_are_those_of_the_closed_form_at_every_width() -> None:
    rows = rows_of(NUM_ROWS)
    heads = RECIPE.heads(training_rows(rows))
    for (name, x), ridge in zip(rows.items(), RIDGES, strict=True):
        torch.testing.assert_close(heads[name], anchor_map(x, ridge))
        assert torch.equal(RECIPE.heads(training_rows(rows), 3)[name], heads[name][:3])
    wide = RECIPE.heads(training_rows(rows), 11)
    torch.testing.assert_close(wide["a"].T @ wide["b"], heads["a"].T @ heads["b"])


def test_a_cutoff_scales_the_outputs_at_every_width() -> None:
    rows, recipe = training_rows(rows_of(NUM_ROWS)), RECIPE.evolve(cutoff=3.0)
    plain, heads = RECIPE.heads(rows), recipe.heads(rows)
    lengths = recipe.lengths(NUM_ROWS)
    assert float(lengths[2]) == 0.5
    for name, matrix in heads.items():
        torch.testing.assert_close(matrix, lengths.unsqueeze(1) * plain[name])
        assert torch.equal(recipe.heads(rows, 4)[name], matrix[:4])
    wide = recipe.heads(rows, 11)
    torch.testing.assert_close(wide["a"].T @ wide["b"], heads["a"].T @ heads["b"])
    stacked = recipe.stacked(heads_of(5), rows)
    parts = stack_on(heads_of(5), heads, rows.rows, recipe.weight)
    assert all(torch.equal(stacked[name], matrix) for name, matrix in parts.items())


def test_float32_rows_are_solved_in_float64() -> None:
    """Nearly equal rows with a small ridge, where a solve in float32 loses most digits."""
    x = (normal(1, 9) + 1e-3 * normal(NUM_ROWS, 9, seed=1)).float()
    recipe = RECIPE.evolve(ridges=(1e-9,))
    heads = recipe.heads(training_rows({"a": x}))["a"]
    assert heads.dtype == torch.float32
    assert relative_error(heads.double(), anchor_map(x.double(), 1e-9)) < 1e-6


def test_the_cosine_of_stacked_heads_is_the_mixture() -> None:
    """By the definition: inner products and squared lengths are mixtures, each part in its mean length on the rows."""
    rows, queries = rows_of(NUM_ROWS), rows_of(30, seed=4)
    start = heads_of(5)
    stacked = RECIPE.evolve(weight=0.3).stacked(start, training_rows(rows))
    set_heads = RECIPE.heads(training_rows(rows))
    products = torch.zeros(30, 30, dtype=torch.float64)
    squares = {name: torch.zeros(30, dtype=torch.float64) for name in WIDTHS}
    for weight, heads in ((0.3, set_heads), (0.7, start)):
        outputs = {}
        for name, w in heads.items():
            length = (rows[name] @ w.T).norm(dim=1).mean()
            outputs[name] = queries[name] @ w.T / length
            squares[name] += weight * outputs[name].square().sum(1)
        products += weight * outputs["a"] @ outputs["b"].T
    expected = products / (squares["a"][:, None] * squares["b"]).sqrt()
    torch.testing.assert_close(cosines(stacked, queries), expected)
    assert stacked["a"].shape == (NUM_ROWS + 5, WIDTHS["a"])


def test_with_parts_of_equal_length_the_mixture_is_that_of_the_cosines() -> None:
    """Square orthogonal heads keep the length of every query, so both parts have it."""
    widths = {"a": 9, "b": 9}
    one, other = ({name: torch.linalg.qr(normal(9, 9, seed=s + k)).Q for k, name in enumerate(widths)} for s in (0, 5))
    rows, queries = rows_of(4, widths=widths), rows_of(20, seed=3, widths=widths)
    expected = 0.6 * cosines(one, queries) + 0.4 * cosines(other, queries)
    torch.testing.assert_close(cosines(stack_on(other, one, rows, 0.6), queries), expected)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_its_limits_the_weight_leaves_one_part(weight: float) -> None:
    rows, queries, start = rows_of(NUM_ROWS), rows_of(20, seed=2), heads_of(5)
    heads = RECIPE.heads(training_rows(rows))
    stacked = stack_on(start, heads, rows, weight)
    torch.testing.assert_close(cosines(stacked, queries), cosines(heads if weight else start, queries))


def test_with_weight_1_given_heads_are_ignored() -> None:
    rows, recipe = training_rows(rows_of(NUM_ROWS)), RECIPE.evolve(weight=1.0)
    for width in (None, 3):
        result, expected = recipe.stacked(heads_of(5), rows, width), recipe.heads(rows, width)
        assert all(torch.equal(result[name], matrix) for name, matrix in expected.items())
    assert not recipe.uses_start
    assert recipe.without_start() is None
    assert RECIPE.uses_start
    assert RECIPE.without_start() == recipe


def test_stacked_heads_can_keep_the_width_of_given_heads() -> None:
    rows, start = training_rows(rows_of(NUM_ROWS)), heads_of(5)
    result, expected = RECIPE.evolve(keep_width=True).stacked(start, rows), RECIPE.stacked(start, rows, 5)
    assert all(torch.equal(result[name], matrix) for name, matrix in expected.items())


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_rescaled_heads_are_stacked_alike(left: float, right: float) -> None:
    rows, start = training_rows(rows_of(NUM_ROWS)), heads_of(5)
    rescaled = {"a": left * start["a"], "b": right * start["b"]}
    for name, matrix in RECIPE.stacked(start, rows).items():
        torch.testing.assert_close(RECIPE.stacked(rescaled, rows)[name], matrix, rtol=1e-9, atol=1e-9)


def test_heads_of_zeros_are_stacked_as_zeros() -> None:
    start = {name: torch.zeros_like(w) for name, w in heads_of(5).items()}
    stacked = RECIPE.stacked(start, training_rows(rows_of(NUM_ROWS)))
    assert all(bool(w.isfinite().all()) and not w[NUM_ROWS:].any() for w in stacked.values())


def test_cut_keeps_the_leading_directions_of_the_rows() -> None:
    """At the complete width nothing changes; below it, the covered cross-covariance is the largest possible.

    Row i counts with the weight 1/i.
    """
    rows = rows_of(NUM_ROWS)
    stacked = RECIPE.stacked(heads_of(5), training_rows(rows))
    queries = rows_of(20, seed=2)
    for width in (NUM_ROWS + 5, NUM_ROWS + 6):
        torch.testing.assert_close(cosines(cut(stacked, rows, width), queries), cosines(stacked, queries))
    scale = torch.tensor([i**-0.5 for i in range(1, NUM_ROWS + 1)], dtype=torch.float64).unsqueeze(1)
    centred = [y - y.mean(0) for y in (scale * (rows[name] @ w.T) for name, w in stacked.items())]
    values = torch.linalg.eigvalsh(centred[0].T @ centred[1] + centred[1].T @ centred[0]).flip(0)
    for width in (1, 4, NUM_ROWS):
        heads = RECIPE.stacked(heads_of(5), training_rows(rows), width)
        assert {name: tuple(w.shape) for name, w in heads.items()} == {n: (width, p) for n, p in WIDTHS.items()}
        outputs = [y - y.mean(0) for y in (scale * (rows[name] @ w.T) for name, w in heads.items())]
        covered = 2 * (outputs[0] * outputs[1]).sum(0)
        torch.testing.assert_close(covered, values[:width])
        for name, w in cut(stacked, rows, width).items():
            assert torch.equal(w, heads[name])


def test_all_students_are_the_same_stacked_heads() -> None:
    rows, start = training_rows(rows_of(NUM_ROWS)), heads_of(5)
    ((steps, heads),) = RECIPE.students(start, rows, seed=3, num_runs=3, checkpoints=[0])
    assert steps == RECIPE.num_steps == 0
    for name, matrix in RECIPE.stacked(start, rows).items():
        assert torch.equal(heads[name], matrix.expand(3, -1, -1))
    ((_, other),) = RECIPE.students(start, rows, seed=4, num_runs=1, checkpoints=[0])
    assert torch.equal(other["a"][0], heads["a"][0])


def test_it_has_no_mini_batches() -> None:
    with pytest.raises(InputError, match=r"recipe 'anchor' has no mini-batches.*call rows\(\) of the synthetic set"):
        RECIPE.batches(NUM_ROWS, 0)


def test_it_is_the_recipe_of_this_name() -> None:
    assert recipes.build({"kind": "anchor", "ridges": [0.1, 0.3]}) == RECIPE
    stacked = "; weight 0.7 when stacked on given heads"
    assert RECIPE.title == f"ridge regression to anchors, ridges 0.1, 0.3{stacked}"
    assert RECIPE.evolve(weight=1.0).title == "ridge regression to anchors, ridges 0.1, 0.3"
    shorter = "ridge regression to anchors, ridges 0.1, 0.3; outputs count less beyond number 35.4"
    assert RECIPE.evolve(cutoff=35.36, weight=1.0).title == shorter


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ridges": ()}, "ridges: Tuple should have at least 1 item"),
        ({"ridges": (0.1, 0.0)}, r"ridges\.1: Input should be greater than 0"),
        ({"ridges": (0.1, float("inf"))}, r"ridges\.1: Input should be a finite number"),
        ({"cutoff": 0.0}, "cutoff: Input should be greater than 0"),
        ({"weight": 1.5}, "weight: Input should be less than or equal to 1"),
        ({"weight": 0.0}, "weight: Input should be greater than 0"),
        ({"num_steps": 3}, "num_steps: Input should be 0"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RECIPE.evolve(**changes)
