from __future__ import annotations

import pytest
import torch

from omnidistill.training.rollout import bptt_rollout
from omnidistill.training.rollout.students import draw_batches, train_students
from rollout_problems import assert_close, problem


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(run) for run in range(count)]


@pytest.mark.parametrize(("num_rows", "batch_size", "num_steps"), [(100, 25, 16), (10, 4, 7), (5, 5, 3), (7, 1, 20)])
def test_batches_are_pieces_of_random_orders(num_rows: int, batch_size: int, num_steps: int) -> None:
    batches = draw_batches(num_rows, batch_size, num_steps, generators(1)[0])
    assert batches.shape == (num_steps, batch_size)
    per_order = num_rows // batch_size
    for begin in range(0, num_steps, per_order):
        piece = batches[begin : begin + per_order].flatten()
        assert len(piece.unique()) == len(piece)  # no row twice before a new order
        assert 0 <= piece.min() <= piece.max() < num_rows
    again = draw_batches(num_rows, batch_size, num_steps, generators(1)[0])
    assert torch.equal(batches, again)
    if num_steps > per_order and per_order * batch_size > 4:
        assert not torch.equal(batches[:1], batches[per_order : per_order + 1])


@pytest.mark.parametrize(
    ("momentum", "weight_decay", "decay_after"), [(0.0, 0.0, None), (0.9, 0.05, None), (0.9, 0.05, 36), (0.0, 0.0, 5)]
)
def test_students_are_those_of_parameter_space_at_every_checkpoint(
    momentum: float, weight_decay: float, decay_after: int | None
) -> None:
    """Two students, checkpoints on both sides of the length of a chunk; the decay is inside a chunk or at its end."""
    made = problem(num_rows=7, batch_size=4, step_size=0.05)
    checkpoints = [1, 5, 40, 70]
    rows = {name: x.detach() for name, x in made.rows.items()}
    found = list(
        train_students(
            made.objective,
            made.start,
            rows,
            lambda batches: made.similarity.targets(made.factors, batches),
            made.step_sizes,
            batch_size=4,
            checkpoints=checkpoints,
            generators=generators(2),
            momentum=momentum,
            weight_decay=weight_decay,
            decay_after=decay_after,
        )
    )
    factors = torch.ones(70, 1)
    factors[slice(decay_after, None) if decay_after else slice(0)] = 0.1
    assert [steps for steps, _ in found] == checkpoints
    for run, generator in enumerate(generators(2)):
        batches = draw_batches(7, 4, 70, generator)
        for steps, heads in found:
            with torch.no_grad():
                alone = bptt_rollout(
                    made.objective,
                    made.start,
                    rows,
                    made.similarity.targets(made.factors, batches[:steps]),
                    batches[:steps],
                    made.step_sizes * factors[:steps].to(made.step_sizes),
                    momentum=momentum,
                    weight_decay=weight_decay,
                )
            assert_close({name: w[run] for name, w in heads.items()}, alone.heads(), 1e-8)
