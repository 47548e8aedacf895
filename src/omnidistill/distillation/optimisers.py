"""Optimisers that update the synthetic set, with separate learning rates for rows, similarities and step sizes.

The step sizes are those with which students train on the set. With `step_size_space = "linear"`, the optimiser updates
them directly. Otherwise, it updates their logarithms, and the learning rate applies to the logarithms.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from omnidistill.core.registry import ComponentRegistry
from omnidistill.core.settings import Component, Positive


class SetOptimiser(Component):
    """Settings of the optimiser that updates the synthetic set."""

    rows: Positive
    """Learning rate for the rows."""
    similarity: Positive
    """Learning rate for the similarity factors."""
    step_sizes: Positive
    """Learning rate of the step sizes, momentum and weight decay, in the space in which they are learned."""

    @abstractmethod
    def build(
        self, rows: Iterable[Tensor], similarity: Iterable[Tensor], step_sizes: Iterable[Tensor]
    ) -> torch.optim.Optimizer:
        """Return a torch optimiser with one parameter group each for rows, similarities and step sizes."""

    def _groups(
        self, rows: Iterable[Tensor], similarity: Iterable[Tensor], step_sizes: Iterable[Tensor]
    ) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [
            {"params": list(rows), "lr": self.rows},
            {"params": list(similarity), "lr": self.similarity},
            {"params": list(step_sizes), "lr": self.step_sizes},
        ]
        return [group for group in groups if group["params"]]


set_optimisers: ComponentRegistry[SetOptimiser] = ComponentRegistry(
    "optimiser",
    SetOptimiser,  # type: ignore[type-abstract]
    {"sgd": "omnidistill.distillation.optimisers", "adam": "omnidistill.distillation.optimisers"},
)
"""All optimisers for the synthetic set, by name."""

AnySetOptimiser = Annotated[SetOptimiser, set_optimisers]
"""Type of a settings field that holds an optimiser."""


@set_optimisers.register("sgd")
class SgdOptimiser(SetOptimiser):
    """SGD with momentum for updating the synthetic set, as in the HoPA paper."""

    rows: Positive = 100.0
    """Learning rate for the rows."""
    similarity: Positive = 10.0
    """Learning rate for the similarity factors."""
    step_sizes: Positive = 1e-4
    """Learning rate of the step sizes, momentum and weight decay, in the space in which they are learned."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Momentum of the SGD that updates synthetic rows, similarity factors and step sizes."""

    def build(
        self, rows: Iterable[Tensor], similarity: Iterable[Tensor], step_sizes: Iterable[Tensor]
    ) -> torch.optim.Optimizer:
        """Return a `torch.optim.SGD` with momentum."""
        return torch.optim.SGD(self._groups(rows, similarity, step_sizes), momentum=self.momentum)


@set_optimisers.register("adam")
class AdamOptimiser(SetOptimiser):
    """Adam for updating the synthetic set, with separate learning rates for rows, similarity and step sizes."""

    rows: Positive = 0.1
    """Learning rate for the synthetic rows. The default suits standardised features."""
    similarity: Positive = 0.05
    """Learning rate for the similarity factors."""
    step_sizes: Positive = 0.01
    """Learning rate of the step sizes, momentum and weight decay, in the space in which they are learned."""

    def build(
        self, rows: Iterable[Tensor], similarity: Iterable[Tensor], step_sizes: Iterable[Tensor]
    ) -> torch.optim.Optimizer:
        """Return a `torch.optim.Adam`."""
        return torch.optim.Adam(self._groups(rows, similarity, step_sizes))
