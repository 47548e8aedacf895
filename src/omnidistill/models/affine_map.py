"""Affine maps between two embedding spaces, in factored or dense form.

A map takes a vector x of the source space (width p, mean a) to a vector y of the target space (width q, mean b). In
factored form it has rank N.

    y = b + (x - a) L^T R        factored: L is N x p and R is N x q; 2 N (p + q) operations per vector
    y = b + (x - a) M            dense: M is p x q; 2 p q operations per vector

If `unit` is set, y is scaled to length 1.

Shapes: n is the number of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AffineMap:
    """An affine map from vectors x of width p to vectors y of width q, in factored form with rank N or in dense form.

    The factored form is y = b + (x - a) L^T R, and the dense form is y = b + (x - a) M.

    Attributes:
        source_mean: the vector a (p).
        left: the factor L (N x p); None in dense form.
        right: the factor R (N x q); in dense form the matrix M (p x q).
        target_mean: the vector b (q).
        unit: whether outputs are scaled to length 1.
    """

    source_mean: Float[Tensor, " _"]
    left: Float[Tensor, "_ _"] | None
    right: Float[Tensor, "_ _"]
    target_mean: Float[Tensor, " _"]
    unit: bool = False

    def apply(self, vectors: Float[Tensor, "n _"]) -> Float[Tensor, "n _"]:
        """Map vectors. The result is differentiable with respect to the vectors and the tensors of the map."""
        inner = vectors - self.source_mean
        if self.left is not None:
            inner = inner @ self.left.mT
        mapped = torch.addmm(self.target_mean, inner, self.right)
        return torch.nn.functional.normalize(mapped, dim=1) if self.unit else mapped

    def fastest(self) -> AffineMap:
        """Return the same map in the form that needs fewer operations per vector: factored or dense."""
        if self.left is None:
            return self
        rank, (width, target_width) = len(self.left), (self.left.shape[1], self.right.shape[1])
        if rank * (width + target_width) <= width * target_width:
            return self
        return replace(self, left=None, right=self.left.mT @ self.right)

    def to(self, like: Tensor) -> AffineMap:
        """Return a copy of the map with the dtype and on the device of the given tensor."""
        left = None if self.left is None else self.left.to(like)
        return AffineMap(self.source_mean.to(like), left, self.right.to(like), self.target_mean.to(like), self.unit)
