"""Squared margin over pairs of modalities.

    L = 1/2 mean_{(m,n)} mean_{i,j} w_ij (z_m,i . z_n,j - c_ij)^2
    c_ij = 1 where the target is positive, margin where it is not and the cosine exceeds it
    w_ij = target_ij for positives; for others 1 where the cosine exceeds the margin, else 0

z are unit outputs. The gradient of the loss of cosines is pulled back to the outputs, y' = (g - (g . z) z) / ||y||.

Shapes: M modalities, b instances, d embedding width, `*r` leading run dimensions.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

import omnidistill as od

_LEAST_NORM = 1e-6


class Margin(od.Objective):
    """Positive pairs are pulled to cosine 1, others are pushed below a margin."""

    cites: ClassVar[tuple[str, ...]] = (
        (
            "@inproceedings{margin,\n  title = {Dimensionality reduction by learning an invariant mapping},\n"
            "  author = {Hadsell, Raia and Chopra, Sumit and LeCun, Yann},\n  year = {2006}\n}"
        ),
    )

    margin: Annotated[float, Field(ge=-1, lt=1)] = 0.2
    """Cosine above which a pair that does not match costs something."""

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one loss per run (index of the leading dimensions)."""
        units, _ = _units(outputs)
        losses = [self._errors(units[..., m, :, :] @ units[..., n, :, :].mT, targets) for m, n in _pairs(outputs)]
        return torch.stack([(weight * error.square()).mean((-2, -1)) for weight, error in losses]).mean(0) / 2

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return dL/dY; differentiable once more, since it is made of differentiable operations."""
        units, lengths = _units(outputs)
        pairs, pulls = _pairs(outputs), [torch.zeros_like(units[..., 0, :, :]) for _ in range(outputs.shape[-3])]
        for m, n in pairs:
            left, right = units[..., m, :, :], units[..., n, :, :]
            weight, error = self._errors(left @ right.mT, targets)
            by_cosine = weight * error / (targets.shape[-1] * targets.shape[-2] * len(pairs))
            pulls[m] = pulls[m] + by_cosine @ right
            pulls[n] = pulls[n] + by_cosine.mT @ left
        pull = torch.stack(pulls, dim=-3)
        return (pull - (pull * units).sum(-1, keepdim=True) * units) / lengths

    def _errors(self, cosines: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The weight of every pair of instances, and its distance from where it should be."""
        positive = targets > 0.5
        above = (cosines > self.margin).to(cosines.dtype)
        weight = torch.where(positive, targets, above + 0 * targets)
        return weight, torch.where(positive, cosines - 1, cosines - self.margin)


def _units(outputs: Tensor) -> tuple[Tensor, Tensor]:
    lengths = outputs.square().sum(-1, keepdim=True).clamp_min(_LEAST_NORM**2).sqrt()
    return outputs / lengths, lengths


def _pairs(outputs: Tensor) -> list[tuple[int, int]]:
    return list(combinations(range(outputs.shape[-3]), 2))
