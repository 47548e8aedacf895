"""Training of heads on real rows by SGD: many runs at once, stacked into one tensor per modality.

For modality m, let W_m be the head, V_m the velocity, X_m the rows of the mini-batch, and Delta_m the gradient of the
loss with respect to the outputs, in closed form. A step with step size lr, momentum mu and weight decay wd is

    V_m <- mu V_m + Delta_m^T X_m + wd W_m
    W_m <- W_m - lr V_m

Experts use mu = wd = 0. Features are frozen, so a step needs no autograd: it computes the outputs by one matrix product
and the gradient of the heads by another.

Runs differ in the order of the rows and, optionally, in the step size and the last epoch. The order depends only on the
number of the run, the number of the epoch, the seed, and a name for what is trained, such as "experts" (`purpose`).
Interrupted training can therefore resume from the last snapshot with bitwise the same result.

In each epoch, the runs are trained in small blocks, so that the intermediate results of a step fit in the cache. The
division into blocks depends only on the sizes of the tensors. If a block is trained alone, for example in another
process, its heads are therefore bitwise the same.

Shapes: E runs, b mini-batch, d embedding width, p_m feature width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import NotFiniteError
from omnidistill.core.streams import Streams
from omnidistill.core.threads import threads_for
from omnidistill.data.featureset import FeatureSet
from omnidistill.models.heads import Heads, shared_groups
from omnidistill.models.objectives import Objective

StackedHeads = dict[str, Float[Tensor, "_ _ _"]]


def stack_runs(start: Heads, num_runs: int) -> StackedHeads:
    """Return one copy of the heads per run, stacked to E x d x p_m."""
    return {name: matrix.repeat(num_runs, 1, 1) for name, matrix in start.items()}


def train_epochs(
    objective: Objective,
    heads: StackedHeads,
    data: FeatureSet,
    learning_rates: Float[Tensor, " E"],
    *,
    batch_size: int,
    num_epochs: int,
    seed: int,
    purpose: str,
    last_epochs: Sequence[int] | None = None,
    first_epoch: int = 0,
    first_run: int = 0,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    decay_after: int | None = None,
    bias: Mapping[str, Float[Tensor, " _"]] | None = None,
) -> Iterator[int]:
    """Train the heads of E runs at once, and yield the number of finished epochs after each epoch.

    A run is one training of heads; the runs are independent of each other. Rows of the same group are positives of each
    other. The last batch of an epoch is dropped if it is incomplete.

    Args:
        objective: the loss.
        heads: {modality: heads of all runs, E x d x p_m}, on the device of the rows; updated in place.
        data: the training rows.
        learning_rates: step size of each run.
        batch_size: rows per step. If the data has fewer rows, every step uses all rows.
        num_epochs: total number of epochs, including those that are already done (`first_epoch`).
        seed: seed for the order of the rows.
        purpose: what is trained, such as "experts". It names the random streams, and error messages start with it.
        last_epochs: for each run, the epoch after which its heads stay constant; None: `num_epochs`.
        first_epoch: number of epochs that are already done.
        first_run: number of the first run. Runs are numbered consecutively. The number of a run determines the order of
            its rows.
        momentum, weight_decay: momentum and weight decay of SGD. Training with momentum must start at epoch 0, because
            velocities are not stored.
        decay_after: epoch after which the step sizes are divided by 10; None: they stay constant.
        bias: {modality: vector of length d}, which is added to the outputs of every run; None adds nothing.

    Raises:
        NotFiniteError: heads became NaN or Inf; the message names the purpose, the modality and the epoch.
    """
    num_runs, num_rows = len(learning_rates), len(data)
    batch_size = min(batch_size, num_rows)
    rates = learning_rates.to(data.device)[:, None, None]
    lasts = [num_epochs] * num_runs if last_epochs is None else last_epochs
    blocks = run_blocks(heads, batch_size)
    velocities = {name: torch.zeros_like(matrix) for name, matrix in heads.items()} if momentum else {}
    sizes, width = {name: matrix.shape[2] for name, matrix in heads.items()}, next(iter(heads.values())).shape[1]
    for epoch in range(first_epoch, num_epochs):
        orders = epoch_orders(num_runs, num_rows, seed=seed, purpose=purpose, epoch=epoch, first_run=first_run)
        orders = orders.to(data.device)
        for block in blocks:
            active = [run for run in range(num_runs)[block] if lasts[run] > epoch]
            if not active:
                continue
            runs = torch.tensor(active, device=data.device)
            part = {name: matrix[runs] for name, matrix in heads.items()}
            moving = {name: matrix[runs] for name, matrix in velocities.items()}
            factor = 0.1 if decay_after is not None and epoch >= decay_after else 1.0
            with threads_for(batch_size, sizes, width * (block.stop - block.start)):
                for begin in range(0, num_rows - batch_size + 1, batch_size):
                    batch = orders[runs, begin : begin + batch_size]
                    targets = shared_groups(data.group_codes[batch])
                    inputs, deltas = _inputs_and_deltas(objective, part, data.features, targets, batch, bias)
                    if not (momentum or weight_decay):
                        for delta, (name, matrix) in zip(factor * rates[runs] * deltas, part.items(), strict=True):
                            matrix.baddbmm_(delta.mT, inputs[name], alpha=-1)
                        continue
                    for delta, (name, matrix) in zip(deltas, part.items(), strict=True):
                        gradient = (delta.mT @ inputs[name]).add_(matrix, alpha=weight_decay)
                        velocity = moving[name].mul_(momentum).add_(gradient) if momentum else gradient
                        matrix.sub_(factor * rates[runs] * velocity)
            for name, matrix in heads.items():
                matrix[runs] = part[name]
            for name, matrix in velocities.items():
                matrix[runs] = moving[name]
        _check_finite(heads, purpose, epoch + 1)
        yield epoch + 1


def run_blocks(heads: StackedHeads, batch_size: int) -> list[slice]:
    """Divide the runs into the largest blocks whose outputs in a step fit in the cache, with at least one run each."""
    num_runs, width = next(iter(heads.values())).shape[:2]
    at_once = max(1, _CACHED_NUMBERS // (len(heads) * batch_size * width))
    return [slice(first, min(first + at_once, num_runs)) for first in range(0, num_runs, at_once)]


def epoch_orders(
    num_runs: int, num_rows: int, *, seed: int, purpose: str, epoch: int, first_run: int = 0
) -> Int[Tensor, "E n"]:
    """Return the random order of the training rows in one epoch for every run, on the CPU."""
    streams, runs = Streams(seed), range(first_run, first_run + num_runs)
    generators = [streams[f"{purpose}/{run}/{epoch}"] for run in runs]
    return torch.stack([torch.randperm(num_rows, generator=each, device="cpu") for each in generators])


def _inputs_and_deltas(
    objective: Objective,
    heads: StackedHeads,
    features: Mapping[str, Tensor],
    targets: Tensor,
    batch: Tensor,
    bias: Mapping[str, Tensor] | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rows of the batch by modality, and the gradient dL/dY of the loss with respect to the outputs."""
    inputs = {name: features[name][batch] for name in heads}
    outputs = torch.stack([inputs[name] @ matrix.mT for name, matrix in heads.items()], dim=1)
    if bias is not None:
        outputs += torch.stack([bias[name] for name in heads])[:, None]
    return inputs, objective.gradient(outputs, targets).transpose(0, 1)


def _check_finite(heads: StackedHeads, purpose: str, epoch: int) -> None:
    for name, matrix in heads.items():
        if not bool(
            torch.isfinite(torch.linalg.vector_norm(matrix, dim=(-2, -1))).all()
        ):  # the squares in the norm overflow before the heads do
            raise NotFiniteError(
                f"{purpose}: heads of '{name}' became NaN or Inf in epoch {epoch}; lower the learning rate"
            )


_CACHED_NUMBERS = 2**20  # 4 MB in float32; a step creates about ten temporary tensors of this size
