"""The gradient of a pairwise objective by head outputs, and the derivative of that, both written out.

Over all M b outputs Y, N their lengths, let C = N^-1 Y Y^T N^-1 and let E hold the errors e = dL/dc of each pair: e_mn
at (m, n), e_mn^T at (n, m), zero elsewhere. Then

    dL/dY = H Y                     H = N^-1 (E - diag(E C)) N^-1           the pull-back of `sphere`, for all at once

and with the cotangent U of this, B = U Y^T + Y U^T, D = N^-1 B N^-1 and rho_ij = (D_ii + D_jj) / 2,

    e' = D_mn - rho o c             S' = (de/dS)^T e'                       S the targets
    c' = (de/dc)^T e' - rho o e     E' is made of c' as E is of e
    Y' = H U + H' Y                 H' = N^-1 (E' - diag(E' C + B H)) N^-1

so that five products read or write what is d wide and nothing else does; nothing of that size is kept but Y.

Shapes: M modalities, P pairs of them, b instances, d embedding width, n = M b, `*r` leading run dimensions.
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
    """dL/d outputs from the errors of all pairs, a function of their cosines and the targets; differentiable once by
    outputs and targets.
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
            wanted = targets.detach().requires_grad_(ctx.needs_input_grad[4])
            found = errors(between, wanted)
        turning = _turning(_spread(found.detach(), num_modalities, left, right), cosines, shrink)
        ctx.save_for_backward(left, right, stacked, cosines, shrink, turning)
        ctx.errors = between, wanted, found
        return (turning @ stacked).view_as(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right, stacked, cosines, shrink, turning = ctx.saved_tensors
        between, wanted, found = ctx.errors
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
        leaves = (between, wanted) if wanted.requires_grad else (between,)
        by_cosine, *by_target = torch.autograd.grad(found, leaves, pulled, retain_graph=True)
        by_cosine = torch.addcmul(by_cosine, radial, found.detach(), value=-1)
        further = _turning(_spread(by_cosine, num_modalities, left, right), cosines, shrink, lengths)
        by_output = (turning @ cotangent + further @ stacked).view_as(grads[0])
        return None, None, None, by_output, by_target[0] if by_target else None


def _blocks(matrix: Float[Tensor, "*r n n"], num_modalities: int) -> Float[Tensor, "*r M M b b"]:
    size = matrix.shape[-1] // num_modalities
    return matrix.view(*matrix.shape[:-2], num_modalities, size, num_modalities, size).transpose(-3, -2)


def _spread(found: Tensor, num_modalities: int, left: Tensor, right: Tensor) -> Tensor:
    """E: the errors of each pair, and their transposes."""
    size = num_modalities * found.shape[-1]
    spread = found.new_zeros(*found.shape[:-3], size, size)
    blocks = _blocks(spread, num_modalities)
    blocks[..., left, right, :, :] = found
    blocks[..., right, left, :, :] = found.mT
    return spread


def _turning(spread: Tensor, cosines: Tensor, shrink: Tensor, lengths: Tensor | None = None) -> Tensor:
    """H in the memory of E; `lengths` is what else the lengths are pulled by."""
    radial = (spread * cosines).sum(-1)
    if lengths is not None:
        radial += lengths
    _shrink(spread, shrink)
    spread.diagonal(dim1=-2, dim2=-1).addcmul_(radial, shrink.square(), value=-1)
    return spread


def _shrink(matrix: Tensor, shrink: Tensor) -> None:
    """N^-1 matrix N^-1, in place."""
    matrix *= shrink.unsqueeze(-1)
    matrix *= shrink.unsqueeze(-2)
