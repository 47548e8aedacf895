"""The dual rollout for plain SGD (no momentum, weight decay or blending), with an explicit backward pass.

A student is trained on N synthetic rows X. SGD only adds multiples of these rows to the initial heads W_0. The heads
after t steps are therefore W_0 + A_t^T X, and it is sufficient to store the coefficients A_t. Step t uses the rows with
the indices I, their target similarities S_t and the step size beta_t. Let g(Y, S) be the gradient of the objective with
respect to the outputs Y, and let B = X W_0^T and K = X X^T.

A single matrix A is updated in place. A prime denotes a derivative of the outer loss L, such as A' = dL/dA. The two
passes are

    forward, t = 0 .. T-1                       Y_t = B[I] + K[I] A,    Delta_t = g(Y_t, S_t),    A[I] -= beta_t Delta_t
    backward, t = T-1 .. 0, from A' = dL/dA_T   A[I] += beta_t Delta_t                            (restores A = A_t)
                                                beta_t' = -<A'[I], Delta_t>
                                                Y', S_t' = (dg/d(Y, S))^T (-beta_t A'[I])         by autograd of g
                                                K'[I] += Y' A^T,    B'[I] += Y',    A' += K[I]^T Y'

The result equals that of autograd through `dual_steps`, but T copies of A need not be stored. Row i of A is zero until
a step uses row i of X. If the earlier steps used no row number above j, products with A therefore need only its rows 0
to j.

Shapes: M modalities, N rows, T steps, b mini-batch, d embedding width.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from omnidistill.models.objectives import Objective


def plain_steps(
    objective: Objective,
    outputs: Float[Tensor, "M N d"],
    kernel: Float[Tensor, "M N N"],
    targets: Float[Tensor, "T b b"],
    batches: Int[Tensor, "T b"],
    step_sizes: Float[Tensor, "*T M"],
) -> Float[Tensor, "M N d"]:
    """Return the coefficients A_T (M x N x d) of one student after T steps of SGD on the rows X (N x p_m).

    The student's head of a modality is W_T = W_0 + A_T^T X, where W_0 is the initial head. The result can be
    differentiated only once.

    Args:
        objective: the loss of the student.
        outputs: outputs X W_0^T of the initial heads (M x N x d).
        kernel: products X X^T of the rows (M x N x N).
        targets: target similarities of each mini-batch (T x b x b).
        batches: row numbers of each mini-batch (T x b). A mini-batch must not contain a row twice. The computation is
            fastest if rows are numbered in the order of their first use.
        step_sizes: one per modality (M), or one per step and modality (T x M).
    """
    sizes = step_sizes.expand(len(batches), len(outputs))
    result: Tensor = _Plain.apply(objective, batches, outputs, kernel, targets, sizes)  # type: ignore[no-untyped-call]
    return result


class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        objective: Objective,
        batches: Tensor,
        outputs: Tensor,
        kernel: Tensor,
        targets: Tensor,
        sizes: Tensor,
    ) -> Tensor:
        needs_grad = any(ctx.needs_input_grad)
        coefficients, moved, steps = torch.zeros_like(outputs), _moved_before(batches), []
        for t, batch in enumerate(batches):
            current = outputs.index_select(1, batch)
            if moved[t]:
                current.baddbmm_(kernel[:, :, : moved[t]].index_select(1, batch), coefficients[:, : moved[t]])
            with torch.set_grad_enabled(needs_grad):
                step_targets = targets[t].detach().requires_grad_(ctx.needs_input_grad[4])
                arguments = current.requires_grad_(needs_grad), step_targets
                delta = objective.gradient(*arguments)
            coefficients.index_add_(1, batch, sizes[t, :, None, None] * delta.detach(), alpha=-1)
            steps.append((arguments, delta))
        ctx.steps, ctx.moved = steps, moved
        ctx.save_for_backward(batches, kernel, sizes, coefficients)
        return coefficients

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        batches, kernel, sizes, coefficients = ctx.saved_tensors
        coefficients, grad_coefficients = coefficients.clone(), cotangents[0].clone()
        grad_outputs, grad_kernel = torch.zeros_like(coefficients), torch.zeros_like(kernel)
        grad_targets, grad_sizes = [], []
        for batch, size, moved, (arguments, delta) in zip(
            reversed(batches), reversed(sizes), reversed(ctx.moved), reversed(ctx.steps), strict=True
        ):
            reached, size, step = grad_coefficients.index_select(1, batch), size[:, None, None], delta.detach()
            leaves = [argument for argument in arguments if argument.requires_grad]
            by_output, *by_target = torch.autograd.grad(
                delta, leaves, -size * reached, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            grad_outputs.index_add_(1, batch, by_output)
            grad_targets += by_target
            grad_sizes.append(-(reached * step).sum((1, 2)))
            if moved:
                coefficients.index_add_(1, batch, size * step)
                grad_kernel[:, :, :moved].index_add_(1, batch, by_output @ coefficients[:, :moved].mT)
                products = kernel[:, :, :moved].index_select(1, batch)
                grad_coefficients[:, :moved].baddbmm_(products.mT, by_output)
        by_targets = torch.stack(grad_targets[::-1]) if grad_targets else None
        return None, None, grad_outputs, grad_kernel, by_targets, torch.stack(grad_sizes[::-1])


def _moved_before(batches: Int[Tensor, "T b"]) -> list[int]:
    """Return, for each step, 1 + the highest row number in all earlier steps. It is 0 for the first step.

    Rows with this number or a higher one are still unused before the step, so their coefficients (A in the module
    docstring) are zero.
    """
    reached = batches.amax(1).cummax(0).values + 1
    return [0, *reached[:-1].tolist()]
