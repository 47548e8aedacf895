"""Workloads for the task loss: an outer iteration whose loss is the trained student's InfoNCE on real rows, alone or
together with a matching loss, and the matrix products that any exact implementation of it needs.

Shapes: M modalities, P pairs of them, N synthetic rows in V views, T student steps, b mini-batch, B real rows, p_m
feature width, d embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from measuring import CPU
from omnidistill.data.featureset import FeatureSet
from omnidistill.data.preprocessing import Preprocessing
from omnidistill.distillation import TaskLoss
from omnidistill.models.objectives import InfoNCE
from omnidistill.models.objectives.pairs import modality_pairs
from omnidistill.models.storages import Plain, RowForm, Views
from omnidistill.training.rollout import dual_rollout
from workloads import Problem, moved_to, problem

SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "emoji": ((1280, 384, 512), 256),
    "ImageBind": ((1280, 1024, 768), 1024),
}
NUM_ROWS, BATCH, STEPS, REAL, WEIGHT = 100, 50, 64, 512, 0.1


@dataclass(frozen=True)
class TaskProblem:
    """A student's training, the storage of its rows, and the real rows for the task loss."""

    made: Problem
    form: RowForm
    task: TaskLoss
    batch: Tensor  # indices of real rows
    num_visited: int  # number of synthetic rows that the batches visit


def task_problem(
    shape: str,
    *,
    num_rows: int = NUM_ROWS,
    num_steps: int = STEPS,
    num_views: int = 1,
    num_real: int = REAL,
    device: torch.device = CPU,
) -> TaskProblem:
    """Return random heads, rows and real rows with the widths of a shape in `SHAPES`; no real rows share a group."""
    widths, width = SHAPES[shape]
    made = problem(
        num_rows,
        num_steps=num_steps,
        widths=widths,
        width=width,
        batch_size=BATCH,
        num_views=num_views,
        device=device,
    )
    generator = torch.Generator().manual_seed(1)
    count = 4 * num_real
    features = {name: torch.randn(count, x.shape[1], generator=generator) for name, x in made.rows.items()}
    features = moved_to(device, features)
    ids = tuple(map(str, range(count)))
    train = FeatureSet(features, ids, ids, ("train",) * count, None, Preprocessing(False, 0.0, {}), {})
    batch = torch.randperm(count, generator=generator)[:num_real].to(device)
    form = Views(Plain(), num_views) if num_views > 1 else Plain()
    return TaskProblem(made, form, TaskLoss(train, made.start, num_real), batch, made.num_visited)


def task_iteration(posed: TaskProblem, *, matching: bool) -> Tensor:
    """Run forward pass, task loss (and matching loss if `matching`) and backward pass, as the outer loop does."""
    made = posed.made
    for leaf in made.leaves:
        leaf.grad = None
    endpoint = dual_rollout(
        InfoNCE(),
        made.start,
        posed.form.expand(made.rows),
        made.similarity.targets(made.factors, made.batches),
        made.batches,
        made.log_step_sizes.exp(),
    )
    loss = posed.task.on(endpoint, posed.batch)
    if matching:
        loss = WEIGHT * loss + (endpoint.squared_distances(made.target) / made.target.squared_norms).sum()
    torch.autograd.backward(loss)
    return loss.detach()


def task_products(posed: TaskProblem, *, matching: bool) -> None:
    """Compute all matrix products of an exact forward and backward pass, and nothing else.

    These are X W_0^T, X X^T, X~ W_0^T, X~ X^T and (X~ X^T) A with their gradients (X~ and W_0 need none), and the
    products for the pairs of real rows. Each step adds K_I A with its gradients, over the rows that have moved, and the
    products for the pairs, which are differentiated twice. Matching adds X D^T, K A and their gradients. The numbers in
    the matrices are placeholders, because only the sizes matter.
    """
    made, begun, kernels, ends = posed.made, [], [], []
    for name, features in posed.task.train.features.items():
        x, real, matrix = features[: posed.num_visited], features[: len(posed.batch)], made.start[name]
        outputs, kernel, crossed = x @ matrix.mT, x @ x.mT, real @ x.mT
        end = torch.addmm(real @ matrix.mT, crossed, outputs)
        _ = outputs @ matrix, kernel @ x, crossed.mT @ real, end @ outputs.mT, crossed.mT @ end
        if matching:
            difference = made.target.difference[name]
            _ = (x @ difference.mT) @ difference, kernel @ outputs, outputs @ outputs.mT
        begun.append(outputs), kernels.append(kernel), ends.append(end)
    _pair_products(torch.stack(ends), twice=False)
    coefficients, kernel = torch.stack(begun), torch.stack(kernels)
    for t in range(len(made.batches)):
        batch, moved = coefficients[:, :BATCH], min(t * BATCH, posed.num_visited)
        reached, before = kernel[:, :BATCH, :moved], coefficients[:, :moved]
        _ = reached @ before, batch @ before.mT, reached.mT @ batch
        _pair_products(batch, twice=True)


def _pair_products(outputs: Tensor, *, twice: bool) -> None:
    """Compute c = Z_m Z_n^T, e Z_n and e^T Z_m for each pair (m, n); if `twice`, also the two gradients of each."""
    left, right = (outputs.index_select(0, index) for index in modality_pairs(len(outputs)))
    cosines = left @ right.mT
    for _ in range(3 if twice else 1):
        _ = cosines @ right, cosines.mT @ left
    if twice:
        _ = left @ right.mT, right @ left.mT
