"""Dual rollout: exact training of a student whose heads are represented by coefficients of the synthetic rows.

Let X be the N synthetic rows and W_0 the initial head. Heads are linear, so an SGD step adds only multiples of the rows
to a head. It is therefore sufficient to store the coefficients A_t of the rows and the coefficient c_t of W_0 (1
without weight decay). In step t, the head W_t and its outputs Y_t on a mini-batch with the row numbers I are

    W_t = c_t W_0 + A_t^T X        Y_t = X_I W_t^T = c_t (X W_0^T)_I + K_I A_t        K = X X^T

The index I selects rows. Let Delta_t = dL/dY_t be the gradient of the loss, beta the step size, mu the momentum and wd
the weight decay. The step is that of SGD in PyTorch:

    g_t = Delta_t^T X_I + wd W_t,   v_{t+1} = mu v_t + g_t,   W_{t+1} = W_t - beta v_{t+1}

The velocities v_t have the same form as the heads.

No tensor as large as W is created, updated or saved for the backward pass. Except for rounding errors, the result
equals that of back-propagation through the parameters. All functions are differentiable with respect to rows, targets,
step sizes, momentum and weight decay. `dual_steps` trains any number of students (runs) at once.

Shapes: R runs, M modalities, N rows, T steps, b mini-batch, d embedding width, p_m feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.heads import Heads, stack
from omnidistill.models.objectives import Objective
from omnidistill.models.objectives.sphere import gram
from omnidistill.training.rollout.blend import Blend
from omnidistill.training.rollout.endpoint import DualEndpoint, Scalar
from omnidistill.training.rollout.plain_sgd import plain_steps


def dual_rollout(
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
) -> DualEndpoint:
    """Train one student for T steps of SGD on mini-batches of synthetic rows.

    Args:
        objective: the student's loss.
        start: initial heads W_0 (d x p_m).
        rows: synthetic rows (N x p_m).
        targets: target similarities of each mini-batch (T x b x b).
        batches: row numbers of each mini-batch (T x b). A mini-batch must not contain a row twice.
        step_sizes: positive step sizes, one per modality (M), or one per step and modality (T x M).
        momentum, weight_decay: momentum and weight decay of SGD.
        blend: weights and permutations for mixing the rows of each mini-batch; None: rows are not mixed.
    """
    visited, batches = _by_first_visit(batches)
    rows = {name: rows[name].index_select(0, visited) for name in start}
    outputs = stack({name: matrix @ start[name].mT for name, matrix in rows.items()})
    kernel = stack({name: gram(matrix) for name, matrix in rows.items()})
    if not momentum and not weight_decay and blend is None:
        coefficients = plain_steps(objective, outputs, kernel, targets, batches, step_sizes)
        return DualEndpoint(dict(start), rows, kernel, coefficients, None)
    state = DualState.initial(1, outputs, weight_decay)
    state = dual_steps(
        objective,
        outputs,
        kernel,
        targets.unsqueeze(0),
        batches.unsqueeze(0),
        step_sizes,
        state,
        momentum=momentum,
        weight_decay=weight_decay,
        blend=blend,
    )
    return DualEndpoint(dict(start), rows, kernel, state.coefficients[0], state.scale)


@dataclass(frozen=True)
class DualState:
    """State of R students during training: heads W = c W_0 + A^T X, and velocity e W_0 + V^T X.

    W_0 are the initial heads, X are the synthetic rows, and A and V are coefficients of the rows. The numbers c and e
    differ between modalities.
    """

    coefficients: Float[Tensor, "R M N d"]  # A
    velocity: Float[Tensor, "R M N d"] | None  # V; None before the first step with momentum
    scale: Float[Tensor, " M"] | None  # c; None without weight decay, where c = 1
    scale_velocity: Float[Tensor, " M"] | None  # e

    @staticmethod
    def initial(num_runs: int, outputs: Float[Tensor, "M N d"], weight_decay: Scalar) -> DualState:
        """Return the state of the students before the first step, when all have the initial heads W_0."""
        scale = outputs.new_ones(outputs.shape[0]) if weight_decay else None
        return DualState(outputs.new_zeros(num_runs, *outputs.shape), None, scale, None)


def dual_steps(
    objective: Objective,
    outputs: Float[Tensor, "M N d"],
    kernel: Float[Tensor, "M N N"],
    targets: Float[Tensor, "R T b b"],
    batches: Int[Tensor, "R T b"],
    step_sizes: Float[Tensor, "*T M"],
    state: DualState,
    *,
    momentum: Scalar = 0.0,
    weight_decay: Scalar = 0.0,
    blend: Blend | None = None,
) -> DualState:
    """Train R students for T steps on mini-batches of N synthetic rows, starting from `state`.

    The module docstring has the equations of a step.

    Args:
        objective: the loss of the students.
        outputs: outputs X W_0^T of the initial heads on the rows (M x N x d for M modalities).
        kernel: products X X^T of the rows (M x N x N).
        targets: target similarities of each mini-batch (R x T x b x b).
        batches: row numbers of each mini-batch (R x T x b). A mini-batch must not contain a row twice.
        step_sizes: one per modality (M), or one per step and modality (T x M).
        state: state from which the students start.
        momentum, weight_decay: momentum and weight decay of SGD.
        blend: weights and permutations for mixing the rows of each mini-batch; None: rows are not mixed.
    """
    num_runs, num_steps, size = batches.shape
    num_modalities, num_rows, width = outputs.shape
    modality = torch.arange(num_modalities, device=batches.device)[:, None] * num_rows
    member = modality + batches.transpose(0, 1).unsqueeze(2)  # T R M b: index of the row in `outputs` and `kernel`
    run = torch.arange(num_runs, device=batches.device)[:, None, None] * (num_modalities * num_rows)
    slots = (member + run).reshape(num_steps, -1)
    initial = outputs.reshape(-1, width)[member].reshape(num_steps, -1, size, width).unbind(0)
    kernels = kernel.reshape(-1, num_rows)[member].reshape(num_steps, -1, size, num_rows).unbind(0)
    sizes = step_sizes.expand(num_steps, num_modalities)[..., None, None].unbind(0)
    step_targets = targets.unbind(1)

    coefficients, velocity, scale, scale_velocity = (
        state.coefficients.reshape(-1, num_rows, width),
        state.velocity,
        state.scale,
        state.scale_velocity,
    )
    shape = (num_runs, num_modalities, num_rows, width)
    for t in range(num_steps):
        base = initial[t] if scale is None else _per_modality(scale, initial[t], num_runs)
        products = kernels[t]
        if blend is not None:
            base, products = blend.mix(t, base), blend.mix(t, products)
        current = torch.baddbmm(base, products, coefficients)
        gradient = objective.gradient(current.view(num_runs, num_modalities, size, width), step_targets[t])
        if blend is not None:
            gradient = blend.spread(t, gradient)
        if momentum or scale is not None:
            moved = coefficients.view(shape)
            pushed = torch.zeros_like(moved) if velocity is None else momentum * velocity
            if scale is not None:
                pushed = pushed + weight_decay * moved
                decayed = torch.zeros_like(scale) if scale_velocity is None else momentum * scale_velocity
                scale_velocity = decayed + weight_decay * scale
                scale = scale - sizes[t].view(-1) * scale_velocity
            velocity = pushed.view(-1, width).index_add(0, slots[t], gradient.reshape(-1, width)).view(shape)
            coefficients = (moved - sizes[t] * velocity).view(-1, num_rows, width)
        else:
            step = (sizes[t] * gradient).reshape(-1, width)
            moved = coefficients.view(-1, width)
            coefficients = moved.index_add(0, slots[t], step, alpha=-1).view(-1, num_rows, width)
    return DualState(coefficients.view(shape), velocity, scale, scale_velocity)


def _by_first_visit(batches: Int[Tensor, "T b"]) -> tuple[Int[Tensor, " n"], Int[Tensor, "T b"]]:
    """Return the distinct row numbers in the order of first use, and the batches with these rows renumbered from 0.

    For example, the batches [[5, 2], [2, 7]] give the row numbers [5, 2, 7] and the batches [[0, 1], [1, 2]].
    """
    visited = torch.tensor(list(dict.fromkeys(batches.flatten().tolist())), device=batches.device)
    position = torch.empty(int(visited.max()) + 1, dtype=batches.dtype, device=batches.device)
    position[visited] = torch.arange(len(visited), device=batches.device)
    return visited, position[batches]


def _per_modality(scale: Tensor, outputs: Tensor, num_runs: int) -> Tensor:
    return outputs * scale.repeat(num_runs)[:, None, None]
