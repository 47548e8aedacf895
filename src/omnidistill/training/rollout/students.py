"""Training students on a synthetic set for keeps: many at once, no gradient, heads handed out at chosen step counts.

The same dual form as in distillation (momentum and weight decay included), so the training recipe means the same in
both places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.streams import Streams
from omnidistill.models.heads import Heads, stack
from omnidistill.models.objectives import Objective
from omnidistill.training.rollout.dual import DualState, dual_steps

_CHUNK_STEPS = 32


def draw_batches(num_rows: int, batch_size: int, num_steps: int, generator: torch.Generator) -> Int[Tensor, "T b"]:
    """Mini-batches as LoRS draws them: consecutive pieces of a random order, a new order when too few rows remain."""
    per_order = num_rows // batch_size
    num_orders = -(-num_steps // per_order)
    orders = [torch.randperm(num_rows, generator=generator)[: per_order * batch_size] for _ in range(num_orders)]
    return torch.cat(orders).view(-1, batch_size)[:num_steps]


def recipe_order(seed: int) -> torch.Generator:
    """What draws the mini-batches of a recipe that says which: the same for every student, from its first step on."""
    return Streams(seed)["recipe/batches"]


@torch.no_grad()
def train_students(
    objective: Objective,
    start: Heads,
    rows: Mapping[str, Float[Tensor, "_ _"]],
    targets: Callable[[Int[Tensor, "R t b"]], Float[Tensor, "R t b b"]],
    step_sizes: Float[Tensor, " M"],
    *,
    batch_size: int,
    checkpoints: Sequence[int],
    generators: Sequence[torch.Generator],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
    """Train one student per generator (it draws the batches); yields (steps done, heads R x d x p_m) at every
    checkpoint.

    `targets` maps batches of row indices to their target similarities. Checkpoints ascend.
    """
    num_runs, num_rows = len(generators), len(next(iter(rows.values())))
    outputs = stack({name: rows[name] @ matrix.mT for name, matrix in start.items()})
    kernel = stack({name: rows[name] @ rows[name].mT for name in start})
    batches = torch.stack([draw_batches(num_rows, batch_size, checkpoints[-1], generator) for generator in generators])
    state, done = DualState.begin(num_runs, outputs, weight_decay), 0
    for checkpoint in checkpoints:
        while done < checkpoint:
            chunk = batches[:, done : min(done + _CHUNK_STEPS, checkpoint)]
            state = dual_steps(
                objective,
                outputs,
                kernel,
                targets(chunk),
                chunk,
                step_sizes,
                state,
                momentum=momentum,
                weight_decay=weight_decay,
            )
            done += chunk.shape[1]
        yield done, _heads(start, rows, state)


def _heads(start: Heads, rows: Mapping[str, Tensor], state: DualState) -> dict[str, Tensor]:
    scale = [1.0] * len(start) if state.scale is None else state.scale.tolist()
    return {
        name: scale[m] * matrix + state.coefficients[:, m].mT @ rows[name]
        for m, (name, matrix) in enumerate(start.items())
    }
