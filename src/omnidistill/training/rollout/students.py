"""Training of many students at once on a synthetic set, without gradients with respect to the set.

Every step, including momentum and weight decay, is the same as in distillation (see the module `dual`). A training
recipe therefore has the same effect in distillation and evaluation. The result contains the heads after each requested
number of steps.
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
    """Draw the row numbers of mini-batches as LoRS does, on the CPU.

    All rows are put in a random order, from which successive mini-batches are taken. When fewer than `batch_size` rows
    remain, they are dropped, and a new random order of all rows is drawn.
    """
    per_order = num_rows // batch_size
    num_orders = -(-num_steps // per_order)
    orders = [torch.randperm(num_rows, generator=generator, device="cpu") for _ in range(num_orders)]
    return torch.cat([order[: per_order * batch_size] for order in orders]).view(-1, batch_size)[:num_steps]


def recipe_order(seed: int) -> torch.Generator:
    """Return the random generator for recipes that fix the mini-batches, so that all students use the same ones.

    The seed is a setting of the recipe (`order`).
    """
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
    decay_after: int | None = None,
) -> Iterator[tuple[int, dict[str, Float[Tensor, "_ _ _"]]]]:
    """Train R students at once; yield (number of steps done, heads R x d x p_m) at every checkpoint.

    Args:
        objective: the loss of the students.
        start: initial heads (d x p_m).
        rows: synthetic rows (N x p_m), on the device of the heads.
        targets: function that returns the target similarities of mini-batches, given the row numbers.
        step_sizes: one per modality; moved to the device of the rows.
        batch_size: rows per step.
        checkpoints: numbers of steps after which to yield the heads, in ascending order.
        generators: one random generator per student, for its mini-batches.
        momentum, weight_decay: momentum and weight decay of SGD.
        decay_after: number of steps after which the step sizes are divided by 10; None: they stay constant.
    """
    num_runs, num_rows = len(generators), len(next(iter(rows.values())))
    outputs = stack({name: rows[name] @ matrix.mT for name, matrix in start.items()})
    kernel = stack({name: rows[name] @ rows[name].mT for name in start})
    batches = torch.stack([draw_batches(num_rows, batch_size, checkpoints[-1], generator) for generator in generators])
    batches, step_sizes = batches.to(outputs.device), step_sizes.to(outputs.device)
    state, done = DualState.initial(num_runs, outputs, weight_decay), 0
    for checkpoint in checkpoints:
        while done < checkpoint:
            stop = min(done + _CHUNK_STEPS, checkpoint)
            if decay_after is not None and done < decay_after:
                stop = min(stop, decay_after)
            chunk = batches[:, done:stop]
            state = dual_steps(
                objective,
                outputs,
                kernel,
                targets(chunk),
                chunk,
                step_sizes if decay_after is None or done < decay_after else step_sizes / 10,
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
