"""Representation blending (RepBlend, Zhang et al. 2025): a student step trains on mixtures of the rows of its batch.

    x'_i = w x_i + (1 - w) x_{pi(i)}        one weight w ~ U(0, 1) and one permutation pi a step, the same in every
    modality

applied to the features, before the heads; the targets stay those of the unmixed batch. Not used when experts are
trained or a set is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Blend:
    """Weights and permutations of T steps on batches of b rows."""

    weights: Float[Tensor, " T"]
    partners: Int[Tensor, "T b"]

    @staticmethod
    def draw(num_steps: int, batch_size: int, generator: torch.Generator) -> Blend:
        """Uniform weights (Beta(1, 1)) and uniform permutations."""
        weights = torch.rand(num_steps, generator=generator)
        partners = torch.stack([torch.randperm(batch_size, generator=generator) for _ in range(num_steps)])
        return Blend(weights, partners)

    def mix(self, step: int, rows: Float[Tensor, "*r b p"]) -> Float[Tensor, "*r b p"]:
        """The mixed rows of one step."""
        weight = self.weights[step]
        return weight * rows + (1 - weight) * rows.index_select(-2, self.partners[step])

    def spread(self, step: int, gradient: Float[Tensor, "*r b d"]) -> Float[Tensor, "*r b d"]:
        """What the gradient of mixed rows' outputs contributes to each unmixed row: the transpose of `mix`."""
        weight = self.weights[step]
        return weight * gradient + (1 - weight) * gradient.index_select(-2, self.partners[step].argsort())
