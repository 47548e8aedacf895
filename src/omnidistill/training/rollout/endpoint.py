"""Endpoints: the trained student that a rollout returns.

An endpoint computes the heads W_T of the student, their outputs, and their distances to target heads. All results are
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
    """Target heads W*, stored as the difference D = W_0 - W* from the initial heads W_0.

    Storing D avoids a loss of precision. W_0 and W* are nearly equal, so for rows X the difference X W_0^T - X W*^T
    would suffer from cancellation. The product X D^T does not.
    """

    difference: Heads  # D = W_0 - W*, one matrix per modality
    squared_norms: Float[Tensor, " M"]  # ||D_m||_F^2

    @staticmethod
    def between(start: Heads, target: Heads) -> Target:
        """Return the target heads W* (`target`), stored as their difference W_0 - W* from the initial heads W_0."""
        difference = {name: start[name] - target[name] for name in start}
        return Target(difference, torch.stack([matrix.square().sum() for matrix in difference.values()]))


@runtime_checkable
class Endpoint(Protocol):
    """The trained student that a rollout returns."""

    def heads(self) -> Heads:
        """Return the trained heads W_T, one per modality."""
        ...

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs F W_T^T of the trained heads W_T for the features F, for every modality."""
        ...

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distance ||W_T - W*||_F^2 between the trained and the target head of every modality."""
        ...


@dataclass(frozen=True)
class ParameterEndpoint:
    """A student in parameter form: the trained heads W_T are stored as matrices."""

    start: Heads
    final: Heads

    def heads(self) -> Heads:
        """Return the trained heads W_T, one per modality."""
        return self.final

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs F W_T^T of the trained heads W_T for the features F, for every modality."""
        return {name: features[name] @ matrix.mT for name, matrix in self.final.items()}

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distance ||W_T - W*||_F^2 between the trained and the target head of every modality.

        It is computed as ||(W_T - W_0) + D||_F^2, where W_0 is the initial head. The target W* is stored as the
        difference D = W_0 - W*.
        """
        moved = [self.final[name] - self.start[name] + target.difference[name] for name in self.final]
        return torch.stack([matrix.square().sum() for matrix in moved])


@dataclass(frozen=True)
class DualEndpoint:
    """A student in dual form: the trained heads W_T = c W_0 + A^T X are stored as coefficients A of the rows X.

    W_0 are the initial heads. The factor c is 1 without weight decay.
    """

    start: Heads
    rows: dict[str, Float[Tensor, "_ _"]]
    kernel: Float[Tensor, "M N N"]
    coefficients: Float[Tensor, "M N d"]
    scale: Float[Tensor, " M"] | None  # c; None without weight decay

    def heads(self) -> Heads:
        """Return the trained heads, one per modality: W_T = c W_0 + A^T X.

        W_0 are the initial heads, A are the coefficients of the rows X, and c is a factor (1 without weight decay).
        """
        return {
            name: self._scaled(index, self.start[name]) + self.coefficients[index].mT @ self.rows[name]
            for index, name in enumerate(self.start)
        }

    def outputs(self, features: Mapping[str, Float[Tensor, "_ _"]]) -> dict[str, Float[Tensor, "_ _"]]:
        """Return the outputs of the trained heads W_T = c W_0 + A^T X, without computing W_T itself.

        W_0 are the initial heads, A are the coefficients of the synthetic rows X, and c is a factor (1 without weight
        decay). For features F, the outputs are F W_T^T = c F W_0^T + (F X^T) A.
        """
        return {
            name: self._scaled(index, features[name] @ self.start[name].mT)
            + (features[name] @ self.rows[name].mT) @ self.coefficients[index]
            for index, name in enumerate(self.start)
        }

    def squared_distances(self, target: Target) -> Float[Tensor, " M"]:
        """Return the squared distance ||W_T - W*||_F^2 between the trained and the target head of every modality.

        The trained head is W_T = c W_0 + A^T X, with the initial head W_0, the rows X and their coefficients A. Without
        weight decay, c = 1. With E = c W_0 - W* and K = X X^T, the result is ||E||^2 + 2 <A, X E^T> + <A, K A>.
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
