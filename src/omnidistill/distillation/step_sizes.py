"""Spaces in which the step sizes of the student are learned: their logarithms, or the step sizes themselves.

    log       beta <- beta exp(-rate g beta)        beta stays positive
    linear    beta <- beta - rate g                 as in MTT, MTT-VL, LoRS and RepBlend; beta may become 0 or negative

Here beta is a step size, g is the gradient of the outer loss with respect to beta, and rate is the learning rate of
plain SGD. To first order, an update changes beta by the fraction rate * g * beta in log space, and by the fraction
rate * g / beta in linear space. The first updates are equal if the rate in log space is the rate in linear space
divided by the square of the initial beta. As beta grows, updates in linear space become smaller than in log space.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

StepSizeSpace = Literal["log", "linear"]
LEAVES: dict[StepSizeSpace, str] = {"log": "log_step_sizes", "linear": "step_sizes"}
"""Names of the learned tensor in checkpoints and restart points."""


def to_space(step_sizes: Float[Tensor, " M"], space: StepSizeSpace) -> Float[Tensor, " M"]:
    """Return the tensor to learn: the logarithms of the step sizes in log space, a copy of them in linear space."""
    return step_sizes.log() if space == "log" else step_sizes.clone()


def from_space(learned: Float[Tensor, " M"], space: StepSizeSpace) -> Float[Tensor, " M"]:
    """Return the step sizes that the tensor `learned` represents. Gradients flow back to `learned`."""
    return learned.exp() if space == "log" else learned
