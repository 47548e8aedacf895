"""Spaces in which the step sizes of the student are learned: their logarithms, or the step sizes themselves.

    log       beta <- beta exp(-rate g beta)        g = dL/d beta; beta stays positive
    linear    beta <- beta - rate g                 as in MTT, MTT-VL, LoRS and RepBlend; beta may become 0 or negative

With plain SGD, the first updates agree to first order if the rate in log space is the linear rate divided by beta^2.
Later updates do not: as beta grows, the relative update shrinks with 1 / beta^2 in linear space, but not in log space.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor

StepSizeSpace = Literal["log", "linear"]
LEAVES: dict[StepSizeSpace, str] = {"log": "log_step_sizes", "linear": "step_sizes"}
"""Names of the learned tensor in checkpoints and restart points."""


def to_space(step_sizes: Float[Tensor, " M"], space: StepSizeSpace) -> Float[Tensor, " M"]:
    """Return the tensor to learn, which represents these step sizes."""
    return step_sizes.log() if space == "log" else step_sizes.clone()


def from_space(learned: Float[Tensor, " M"], space: StepSizeSpace) -> Float[Tensor, " M"]:
    """Return the step sizes that a learned tensor represents. They are differentiable with respect to it."""
    return learned.exp() if space == "log" else learned
