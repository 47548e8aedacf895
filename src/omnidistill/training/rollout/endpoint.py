"""Endpoints: the trained student that a rollout returns, in dual or parameter form.

Both forms compute the heads, the outputs for any rows, and the distances to target heads. All results are
differentiable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.models.heads import Heads

Scalar = float | Float[Tensor, ""]
"""A number, or a tensor with one number through which gradients flow."""


@dataclass(frozen=True)
class Target:
    """Heads W* to match, stored as the difference D = W_0 - W* to the initial heads W_0.

    Products with D are accurate. Without D, two nearly equal products, one with W_0 and one with W*, would have to be
    subtracted, which loses precision.
    """

    difference: Heads  # D = W_0 - W*, one matrix per modality
    squared_norms: Float[Tensor, " M"]  # ||D_m||_F^2

    @staticmethod
    def between(start: Heads, target: Heads) -> Target:
        """Return the target for these initial heads and target heads."""
        difference = {name: start[name] - target[name] for name in start}
        return Target(difference, torch.stack([matrix.square().sum() for matrix in difference.values()]))


@runtime_checkable
class Endpoint(Protocol):
    """A trained student, as a rollout returns it."""

    def heads(self) -> Heads:
        """Return the heads W_T of every modality."""
        ...

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs X W_T^T of the heads for the features X of every modality."""
        ...

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distance ||W_T - W*||_F^2 to the target heads for every modality."""
        ...


@dataclass(frozen=True)
class ParameterEndpoint:
    """A student that is stored as its heads, not as coefficients of rows."""

    start: Heads
    final: Heads

    def heads(self) -> Heads:
        """Return the heads W_T."""
        return self.final

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs X W_T^T of the heads for the features X."""
        return {name: features[name] @ matrix.mT for name, matrix in self.final.items()}

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distances ||(W_T - W_0) + D||^2 to the target heads W* = W_0 - D."""
        moved = [self.final[name] - self.start[name] + target.difference[name] for name in self.final]
        return torch.stack([matrix.square().sum() for matrix in moved])


@dataclass(frozen=True)
class DualEndpoint:
    """A student in dual form: the heads are W_T = c W_0 + A^T X, with c = 1 if there is no weight decay.

    W_0 are the initial heads, A the coefficients and X the synthetic rows.
    """

    start: Heads
    rows: dict[str, Float[Tensor, "_ _"]]
    kernel: Float[Tensor, "M N N"]
    coefficients: Float[Tensor, "M N d"]
    scale: Float[Tensor, " M"] | None  # c; None without weight decay

    def heads(self) -> Heads:
        """Return the heads W_T = c W_0 + A^T X."""
        return {
            name: self._scaled(index, self.start[name]) + self.coefficients[index].mT @ self.rows[name]
            for index, name in enumerate(self.start)
        }

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs c X_new W_0^T + (X_new X^T) A for features X_new, without computing the heads W_T."""
        return {
            name: self._scaled(index, features[name] @ self.start[name].mT)
            + (features[name] @ self.rows[name].mT) @ self.coefficients[index]
            for index, name in enumerate(self.start)
        }

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distances ||D||^2 + 2 <A, X D^T> + <A, K A> to the target heads, where K = X X^T.

        With weight decay, D + (c - 1) W_0 replaces D.
        """
        squared_norms = target.squared_norms
        products = torch.stack([self.rows[name] @ target.difference[name].mT for name in self.start])
        if self.scale is not None:
            shrunk = self.scale - 1
            inner = torch.stack([(target.difference[name] * matrix).sum() for name, matrix in self.start.items()])
            square = torch.stack([matrix.square().sum() for matrix in self.start.values()])
            squared_norms = squared_norms + 2 * shrunk * inner + shrunk.square() * square
            initial_outputs = torch.stack([self.rows[name] @ matrix.mT for name, matrix in self.start.items()])
            products = products + shrunk[:, None, None] * initial_outputs
        moved = torch.baddbmm(products, self.kernel, self.coefficients, beta=2)
        return squared_norms + (self.coefficients * moved).sum((-2, -1))

    def _scaled(self, index: int, matrix: Tensor) -> Tensor:
        return matrix if self.scale is None else self.scale[index] * matrix
