"""Rollouts in parameter space: back-propagation through time (BPTT, as in MTT), and the two passes of TESLA.

Both methods create tensors as large as the heads in every step. The tests use them to check `rollout.dual`. BPTT stores
the graph of all T steps.

TESLA (Cui et al. 2023) stores no graph. Let theta_i be the heads after i steps, X_i and S_i the rows and targets of
mini-batch i, beta the step size, and g_i = g(theta_i; X_i, S_i) the gradient of the student's loss. SGD gives

    theta_T = theta_0 - beta sum_{i < T} g_i

Pass 1 trains without a graph and computes dL/dtheta_T, where L is the loss of the trained heads. Pass 2 differentiates
one step at a time:

    dL/d(X_i, S_i) = d/d(X_i, S_i) [ -beta <dL/dtheta_T, g_i> ]
    dL/dbeta = -<dL/dtheta_T, sum_i g_i>

Every theta_i is treated as a constant, so the gradient is only approximate: X_i also changes the later heads. With
momentum mu, beta becomes beta (1 - mu^{T-i}) / (1 - mu) in step i. TESLA does not support weight decay; BPTT does.

Shapes: T steps, M modalities, b rows per mini-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.core.errors import InputError
from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.rollout.blend import Blend
from omnidistill.training.rollout.endpoint import ParameterEndpoint, Scalar


def bptt_rollout(
    objective: Objective,
    start: Heads,
    rows: Mapping[str, Float[Tensor, "_ _"]],
    targets: Float[Tensor, "T b b"],
    batches: Int[Tensor, "T b"],
    step_sizes: Float[Tensor, "*T M"],
    *,
    momentum: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    blend: Blend | None = None,
) -> ParameterEndpoint:
    """Train one student for T steps of SGD, with exact gradients. See `dual_rollout` for the arguments."""
    num_steps = len(batches)
    sizes = step_sizes.expand(num_steps, len(start))
    heads, velocity = list(start.values()), [torch.zeros_like(matrix) for matrix in start.values()]
    for t in range(num_steps):
        batch = _batch([rows[name] for name in start], batches[t], blend, t)
        gradients = _head_gradients(objective, heads, batch, targets[t])
        for m in range(len(heads)):
            gradient = gradients[m] + weight_decay * heads[m] if weight_decay else gradients[m]
            velocity[m] = momentum * velocity[m] + gradient if momentum else gradient
            heads[m] = heads[m] - sizes[t, m] * velocity[m]
    return ParameterEndpoint(dict(start), dict(zip(start, heads, strict=True)))


def tesla_rollout(
    objective: Objective,
    start: Heads,
    rows: Mapping[str, Float[Tensor, "_ _"]],
    targets: Float[Tensor, "T b b"],
    batches: Int[Tensor, "T b"],
    step_sizes: Float[Tensor, "*T M"],
    *,
    momentum: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    blend: Blend | None = None,
) -> ParameterEndpoint:
    """Train one student for T steps of SGD, with the gradients of TESLA. See `dual_rollout` for the arguments.

    Raises:
        InputError: the weight decay is not zero, or the momentum is a tensor.
    """
    if weight_decay:
        raise InputError("rollout 'tesla' does not support weight decay; set it to 0, or use rollout 'dual' or 'bptt'")
    if isinstance(momentum, Tensor):
        raise InputError("rollout 'tesla' has no gradient for the momentum; use rollout 'dual' or 'bptt' to learn it")
    final = _Tesla.apply(  # type: ignore[no-untyped-call]
        objective,
        momentum,
        blend,
        batches,
        targets,
        step_sizes,
        len(start),
        *start.values(),
        *(rows[name] for name in start),
    )
    return ParameterEndpoint(dict(start), dict(zip(start, final, strict=True)))


def _batch(rows: Sequence[Tensor], batch: Tensor, blend: Blend | None, step: int) -> list[Tensor]:
    taken = [x.index_select(0, batch) for x in rows]
    return taken if blend is None else [blend.mix(step, x) for x in taken]


def _head_gradients(objective: Objective, heads: list[Tensor], batch: list[Tensor], targets: Tensor) -> list[Tensor]:
    """Return dL/dW = (dL/dY)^T X for each head W, with rows X and outputs Y = X W^T."""
    outputs = torch.stack([x @ matrix.mT for x, matrix in zip(batch, heads, strict=True)])
    deltas = objective.gradient(outputs, targets)
    return [delta.mT @ x for delta, x in zip(deltas, batch, strict=True)]


class _Tesla(torch.autograd.Function):
    """The two passes of TESLA (approximate gradients of a rollout, Cui et al. 2023).

    `forward` is pass 1: it trains the heads without a graph and returns them. `backward` is pass 2: it differentiates
    one step at a time, and treats the heads before the step as constants.
    """

    @staticmethod
    def forward(
        ctx: Any,
        objective: Objective,
        momentum: float,
        blend: Blend | None,
        batches: Tensor,
        targets: Tensor,
        step_sizes: Tensor,
        num_heads: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        heads, rows = list(tensors[:num_heads]), tensors[num_heads:]
        sizes = step_sizes.expand(len(batches), num_heads)
        path, velocity = [], [torch.zeros_like(matrix) for matrix in heads]
        for t in range(len(batches)):
            path.append(list(heads))
            batch = _batch(rows, batches[t], blend, t)
            gradients = _head_gradients(objective, heads, batch, targets[t])
            velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)] if momentum else gradients
            heads = [torch.addcmul(h, sizes[t, m], velocity[m], value=-1) for m, h in enumerate(heads)]
        ctx.objective, ctx.momentum, ctx.blend, ctx.path = objective, momentum, blend, path
        ctx.save_for_backward(batches, targets, step_sizes, *rows)
        return tuple(heads)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        batches, targets, step_sizes, *rows = ctx.saved_tensors
        num_steps, num_heads = len(batches), len(cotangents)
        sizes = step_sizes.expand(num_steps, num_heads)
        reach = _reach(sizes, ctx.momentum)
        grad_rows = [torch.zeros_like(x) for x in rows]
        grad_targets, aligned = torch.zeros_like(targets), torch.zeros_like(reach)
        for t in range(num_steps):
            batch = [x.index_select(0, batches[t]).requires_grad_() for x in rows]
            step_targets = targets[t].detach().requires_grad_()
            with torch.enable_grad():
                mixed = batch if ctx.blend is None else [ctx.blend.mix(t, x) for x in batch]
                outputs = torch.stack([x @ matrix.mT for x, matrix in zip(mixed, ctx.path[t], strict=True)])
                deltas = ctx.objective.gradient(outputs, step_targets)
                # <C, Delta^T X> = <Delta, X C^T>, and the right side needs no matrix as large as the head
                pulled = torch.stack([x @ c.mT for x, c in zip(mixed, cotangents, strict=True)])
                inner = (deltas * pulled).sum((-2, -1))
                gradients = torch.autograd.grad((-reach[t] * inner).sum(), [*batch, step_targets], allow_unused=True)
            for m in range(num_heads):
                grad_rows[m].index_add_(0, batches[t], gradients[m])
            if gradients[-1] is not None:
                grad_targets[t] = gradients[-1]
            aligned[t] = inner.detach()
        grad_sizes = -_size_gradient(aligned, ctx.momentum)
        if step_sizes.ndim == 1:
            grad_sizes = grad_sizes.sum(0)
        return (None, None, None, None, grad_targets, grad_sizes, None, *([None] * num_heads), *grad_rows)


def _reach(sizes: Tensor, momentum: float) -> Tensor:
    """Return a factor f_t for each step t. The trained heads are theta_0 - sum_t f_t g_t with the gradients g_t.

    With step sizes beta_s and momentum mu, f_t = sum_{s >= t} beta_s mu^{s - t}.
    """
    reach, carried = torch.empty_like(sizes), torch.zeros_like(sizes[0])
    for t in reversed(range(len(sizes))):
        carried = sizes[t] + momentum * carried
        reach[t] = carried
    return reach


def _size_gradient(aligned: Tensor, momentum: float) -> Tensor:
    """Return -dL/dbeta_s for every step s, where L is the loss and beta_s the step size.

    It is computed as <dL/dtheta_T, v_s>, where theta_T are the trained heads and v_s is the velocity in step s. The
    velocity is v_s = sum_{t <= s} momentum^{s - t} g_t, where g_t is the gradient in step t.

    Args:
        aligned: <dL/dtheta_T, g_t> for every step t.
        momentum: momentum of SGD.
    """
    velocity, carried = torch.empty_like(aligned), torch.zeros_like(aligned[0])
    for s in range(len(aligned)):
        carried = aligned[s] + momentum * carried
        velocity[s] = carried
    return velocity
