"""Learned settings of the student's SGD: step sizes, and optionally momentum and weight decay.

The step sizes are learned in one of two spaces: their logarithms, or the step sizes themselves. Let beta be a step
size, g the gradient of the outer loss with respect to beta, and r the learning rate of plain SGD. An update is

    log       beta <- beta exp(-r g beta)        beta stays positive
    linear    beta <- beta - r g                 as in MTT, MTT-VL, LoRS and RepBlend; beta may become 0 or negative

To first order, an update in log space changes beta by -r g beta^2. At the initial beta, a learning rate of
r / beta^2 in log space therefore has the same effect as r in linear space. If beta then grows, updates in log space
become larger than updates in linear space.

Momentum and weight decay are learned as logit(momentum) and log(weight decay), so that 0 < momentum < 1 and weight
decay > 0. They are learned only if their initial values are greater than 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.training.rollout import Scalar

StepSizeSpace = Literal["log", "linear"]
LEAVES: dict[StepSizeSpace, str] = {"log": "log_step_sizes", "linear": "step_sizes"}
"""Names of the learned tensor for the step sizes in checkpoints and restart points."""
MOMENTUM, WEIGHT_DECAY = "logit_momentum", "log_weight_decay"
"""Names of the learned tensors for momentum and weight decay."""


@dataclass(frozen=True)
class StudentSgd:
    """Settings of the student's SGD.

    Attributes:
        step_sizes: step size of each modality.
        momentum: momentum; 0.0 or a scalar tensor.
        weight_decay: weight decay; 0.0 or a scalar tensor.
    """

    step_sizes: Float[Tensor, " M"]
    momentum: Scalar = 0.0
    weight_decay: Scalar = 0.0

    def to_leaves(self, space: StepSizeSpace) -> dict[str, Tensor]:
        """Return the tensors to learn, by name. Momentum and weight decay of 0 are omitted, because they are fixed."""
        sizes = self.step_sizes
        leaves = {LEAVES[space]: sizes.log() if space == "log" else sizes.clone()}
        if self.momentum:
            leaves[MOMENTUM] = torch.as_tensor(self.momentum, dtype=sizes.dtype, device=sizes.device).logit()
        if self.weight_decay:
            leaves[WEIGHT_DECAY] = torch.as_tensor(self.weight_decay, dtype=sizes.dtype, device=sizes.device).log()
        return leaves

    @staticmethod
    def from_leaves(leaves: Mapping[str, Tensor], space: StepSizeSpace) -> StudentSgd:
        """Convert learned tensors to settings of SGD: step sizes, momentum and weight decay.

        The settings are differentiable with respect to the tensors.
        """
        sizes = leaves[LEAVES[space]]
        return StudentSgd(
            sizes.exp() if space == "log" else sizes,
            leaves[MOMENTUM].sigmoid() if MOMENTUM in leaves else 0.0,
            leaves[WEIGHT_DECAY].exp() if WEIGHT_DECAY in leaves else 0.0,
        )
