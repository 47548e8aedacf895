"""Gradient of pairwise objectives with respect to head outputs, and its derivative, both in closed form.

The loss L is a function of the cosine similarities of certain pairs of modalities. Notation:

    Y    outputs of all M modalities, stacked to one matrix (M b x d)
    N    diagonal matrix of the norms of the rows of Y
    C    N^-1 Y Y^T N^-1, all cosine similarities, in M x M blocks of size b x b
    c    block C_mn of a pair (m, n) of modalities
    e    dL/dc
    E    for each pair, e in block (m, n) and e^T in block (n, m); zero in all other blocks
    o    elementwise product

The gradient is

    dL/dY = H Y                     H = N^-1 (E - diag(E C)) N^-1           (chain rule of `sphere.pull_back`)

**Backward pass.** Let a later loss depend on dL/dY. For a quantity x, x' is the gradient of this later loss with
respect to x. S contains the targets. Let U = (dL/dY)', B = U Y^T + Y U^T, D = N^-1 B N^-1 and
rho_ij = (D_ii + D_jj) / 2. For each pair (m, n), with the blocks D_mn and rho_mn of D and rho,

    e' = D_mn - rho_mn o c               S' = (de/dS)^T e', summed over pairs
    c' = (de/dc)^T e' - rho_mn o e       E' is built from c' in the same way as E from e
    Y' = H U + H' Y                      H' = N^-1 (E' - diag(E' C + B H)) N^-1

Both passes together need only five matrix products with tensors of width d. Of these tensors, only Y is saved for the
backward pass.

Shapes: M modalities, P pairs of modalities, b instances, embedding width d. `*r` stands for any leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from omnidistill.models.objectives.sphere import LEAST_NORM


def pair_gradient(
    errors: Callable[[Float[Tensor, "*r P b b"], Float[Tensor, "*r b b"]], Float[Tensor, "*r P b b"]],
    outputs: Float[Tensor, "*r M b d"],
    targets: Float[Tensor, "*r b b"],
    left: Int[Tensor, " P"],
    right: Int[Tensor, " P"],
) -> Float[Tensor, "*r M b d"]:
    """Return the gradient dL/dY of a pairwise objective with respect to the outputs of the heads.

    The result can be differentiated once with respect to `outputs` and `targets`.

    Args:
        errors: function (c, targets) -> dL/dc, where c contains the cosine similarities of all pairs.
        outputs: outputs Y of the heads; they need not be normalised.
        targets: target similarities.
        left, right: indices of the first and the second modality of each pair.
    """
    result: Tensor = _Gradient.apply(errors, left, right, outputs, targets)  # type: ignore[no-untyped-call]
    return result


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, errors: Callable[..., Tensor], left: Tensor, right: Tensor, outputs: Tensor, targets: Tensor
    ) -> Tensor:
        stacked, num_modalities = outputs.flatten(-3, -2), outputs.shape[-3]
        cosines = stacked @ stacked.mT
        shrink = cosines.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_NORM**2).rsqrt()  # N^-1
        _shrink(cosines, shrink)
        needed = any(ctx.needs_input_grad)
        with torch.set_grad_enabled(needed):
            between = _blocks(cosines, num_modalities)[..., left, right, :, :].requires_grad_(needed)
            leaf_targets = targets.detach().requires_grad_(ctx.needs_input_grad[4])
            pair_errors = errors(between, leaf_targets)
        turning = _turning(_block_matrix(pair_errors.detach(), num_modalities, left, right), cosines, shrink)
        ctx.save_for_backward(left, right, stacked, cosines, shrink, turning)
        ctx.errors = between, leaf_targets, pair_errors
        return (turning @ stacked).view_as(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right, stacked, cosines, shrink, turning = ctx.saved_tensors
        between, leaf_targets, pair_errors = ctx.errors
        num_modalities, cotangent = grads[0].shape[-3], grads[0].flatten(-3, -2)
        both = cotangent @ stacked.mT
        both = both + both.mT
        lengths = (both * turning).sum(-1)
        _shrink(both, shrink)
        radial = both.diagonal(dim1=-2, dim2=-1).unflatten(-1, (num_modalities, -1)) / 2
        radial = radial.index_select(-2, left).unsqueeze(-1) + radial.index_select(-2, right).unsqueeze(-2)
        pulled = torch.addcmul(
            _blocks(both, num_modalities)[..., left, right, :, :], radial, between.detach(), value=-1
        )
        leaves = (between, leaf_targets) if leaf_targets.requires_grad else (between,)
        by_cosine, *by_target = torch.autograd.grad(pair_errors, leaves, pulled, retain_graph=True)
        by_cosine = torch.addcmul(by_cosine, radial, pair_errors.detach(), value=-1)
        further = _turning(_block_matrix(by_cosine, num_modalities, left, right), cosines, shrink, lengths)
        by_output = (turning @ cotangent + further @ stacked).view_as(grads[0])
        return None, None, None, by_output, by_target[0] if by_target else None


def _blocks(matrix: Float[Tensor, "*r Mb Mb"], num_modalities: int) -> Float[Tensor, "*r M M b b"]:
    size = matrix.shape[-1] // num_modalities
    return matrix.view(*matrix.shape[:-2], num_modalities, size, num_modalities, size).transpose(-3, -2)


def _block_matrix(pair_errors: Tensor, num_modalities: int, left: Tensor, right: Tensor) -> Tensor:
    """Return the symmetric matrix E of loss derivatives, with one block (b x b) per ordered pair of modalities.

    `pair_errors` contains the derivatives with respect to the cosine similarities of each pair. `left` and `right`
    contain the indices of the first and the second modality of each pair.
    """
    size = num_modalities * pair_errors.shape[-1]
    matrix = pair_errors.new_zeros(*pair_errors.shape[:-3], size, size)
    blocks = _blocks(matrix, num_modalities)
    blocks[..., left, right, :, :] = pair_errors
    blocks[..., right, left, :, :] = pair_errors.mT
    return matrix


def _turning(errors: Tensor, cosines: Tensor, shrink: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Overwrite `errors` with H = N^-1 (E - diag(E C)) N^-1, in the notation of the module docstring, and return H.

    `errors` is E, `cosines` is C, and `shrink` is the diagonal of N^-1. The backward pass computes H' instead: it
    passes E' as `errors` and the diagonal of B H as `lengths`, which is added to the diagonal of E' C.
    """
    radial = (errors * cosines).sum(-1)
    if lengths is not None:
        radial += lengths
    _shrink(errors, shrink)
    errors.diagonal(dim1=-2, dim2=-1).addcmul_(radial, shrink.square(), value=-1)
    return errors


def _shrink(matrix: Tensor, shrink: Tensor) -> None:
    """Multiply the matrix from both sides by the diagonal matrix N^-1 of inverse norms, in place."""
    matrix *= shrink.unsqueeze(-1)
    matrix *= shrink.unsqueeze(-2)
