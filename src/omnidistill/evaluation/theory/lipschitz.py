"""Local Lipschitz constants of the gradient, by power iteration (HoPA, arXiv 2604.10666, Lemma 1).

Lemma 1 needs a constant L with ||g(theta) - g(theta')|| <= L ||theta - theta'||. Here theta and theta' are two heads,
and g is the gradient of the loss on real rows. The largest spectral norm of the Hessian H on the segment between both
heads is such a constant (mean value inequality).

The power iteration V <- H V / ||H V|| estimates the norm of H from below, without storing H. Consider one modality with
features X (b x p), head W (d x p) and outputs Y = X W^T. Let Delta(Y) be the gradient of the loss with respect to Y,
and D Delta [E] its derivative in the direction E. For a direction V (d x p),

    H V = (D Delta [X V^T])^T X

D Delta is symmetric, so a vector-Jacobian product of `Objective.gradient` computes it. Several modalities are treated
together in the same way.

To save time, X is replaced by R^T from the QR decomposition X^T = Q R. The norm stays the same, because only directions
V with rows in the row space of X change the outputs (own derivation).

Everything is computed in float64. Shapes: b instances, M modalities, d embedding width, p_m feature width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.heads import Heads, project, stack
from omnidistill.models.objectives import Objective

MAX_ITERATIONS = 100
TOLERANCE = 1e-4
SEGMENT_POINTS = (0.0, 0.5, 1.0)
"""Points of a segment at which the Hessian is measured: its two ends and its middle."""


def hessian_norm(
    objective: Objective,
    heads: Heads,
    features: Mapping[str, Float[Tensor, "b _"]],
    targets: Float[Tensor, "b b"],
    generator: torch.Generator,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the spectral norm of the Hessian of the loss with respect to all heads.

    Args:
        objective: the loss.
        heads: the heads at which the Hessian is taken.
        features: features of the batch.
        targets: target similarities of the batch.
        generator: random generator for the first direction.
        max_iterations: largest number of power iterations.
        tolerance: the iteration ends when the estimate grows by less than this fraction.
    """
    reduced = [torch.linalg.qr(features[name].mT, mode="r").R.mT for name in heads]
    with torch.enable_grad():
        outputs = stack(project(heads, features)).detach().requires_grad_()
        deltas = objective.gradient(outputs, targets)
    width = outputs.shape[-1]
    direction = [
        torch.randn(width, x.shape[-1], dtype=x.dtype, generator=generator, device="cpu").to(x.device) for x in reduced
    ]
    estimate = 0.0
    for _ in range(max_iterations):
        length = _norm(direction)
        if length == 0:
            return 0.0
        pushed = torch.stack([x @ v.mT / length for x, v in zip(reduced, direction, strict=True)])
        (turned,) = torch.autograd.grad(deltas, outputs, pushed, retain_graph=True)
        direction = [t.mT @ x for t, x in zip(turned, reduced, strict=True)]
        before, estimate = estimate, _norm(direction)
        if estimate <= before * (1 + tolerance):
            return max(estimate, before)
    return estimate


def segment_norm(
    objective: Objective,
    first: Heads,
    second: Heads,
    features: Mapping[str, Float[Tensor, "b _"]],
    targets: Float[Tensor, "b b"],
    generator: torch.Generator,
    *,
    points: Sequence[float] = SEGMENT_POINTS,
) -> float:
    """Return the largest spectral norm of the Hessian at several points on the segment between two heads.

    Args:
        objective, features, targets, generator: see `hessian_norm`.
        first, second: heads at the two ends of the segment.
        points: positions on the segment, from 0 (`first`) to 1 (`second`).
    """
    return max(
        hessian_norm(
            objective,
            {name: torch.lerp(matrix, second[name], share) for name, matrix in first.items()},
            features,
            targets,
            generator,
        )
        for share in points
    )


def _norm(direction: Sequence[Tensor]) -> float:
    return float(sum(float(v.square().sum()) for v in direction) ** 0.5)
