"""Representation blending (RepBlend, Zhang et al. 2025): students train on mixtures of the rows of a batch.

    x'_i = w x_i + (1 - w) x_{pi(i)}

Here x_i is row i of the batch. Each step draws one weight w ~ U(0, 1) and one permutation pi, which all modalities
share. Blending applies to the features, before the heads, and does not change the targets. It is not used for experts
or in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Blend:
    """Weights (T) and permutations pi (T x b) for T steps. Each step mixes row i of its batch with row pi(i)."""

    weights: Float[Tensor, " T"]
    partners: Int[Tensor, "T b"]

    @staticmethod
    def draw(num_steps: int, batch_size: int, generator: torch.Generator) -> Blend:
        """Draw a weight from U(0, 1) and a uniformly random permutation for every step, on the CPU."""
        weights = torch.rand(num_steps, generator=generator, device="cpu")
        orders = [torch.randperm(batch_size, generator=generator, device="cpu") for _ in range(num_steps)]
        return Blend(weights, torch.stack(orders))

    def to(self, device: torch.device) -> Blend:
        """Return a copy of the weights and permutations on a device."""
        return Blend(self.weights.to(device), self.partners.to(device))

    def mix(self, step: int, rows: Float[Tensor, "*r b p"]) -> Float[Tensor, "*r b p"]:
        """Mix the rows of a batch with the weight and the permutation of the given step."""
        weight = self.weights[step]
        return weight * rows + (1 - weight) * rows.index_select(-2, self.partners[step])

    def spread(self, step: int, gradient: Float[Tensor, "*r b d"]) -> Float[Tensor, "*r b d"]:
        """Convert a gradient with respect to the mixed rows to one with respect to the original rows."""
        weight = self.weights[step]
        return weight * gradient + (1 - weight) * gradient.index_select(-2, self.partners[step].argsort())
