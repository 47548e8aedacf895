"""Rollouts: the training of a student on the synthetic set, as a differentiable function of the set.

There are three forms. All three have the same signature and return an `Endpoint`.

    dual     exact gradients; represents the heads by coefficients of the synthetic rows, which is usually cheapest
    bptt     exact gradients; backpropagation through the parameters of the heads
    tesla    the published two-pass approximation

The name `auto` selects `dual` or `bptt`, whichever needs fewer multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from omnidistill.models.heads import Heads
from omnidistill.models.objectives import Objective
from omnidistill.training.rollout.blend import Blend
from omnidistill.training.rollout.dual import dual_rollout
from omnidistill.training.rollout.endpoint import DualEndpoint, Endpoint, ParameterEndpoint, Scalar, Target
from omnidistill.training.rollout.parameter import bptt_rollout, tesla_rollout

__all__ = [
    "Blend",
    "DualEndpoint",
    "Endpoint",
    "Form",
    "ParameterEndpoint",
    "Rollout",
    "Scalar",
    "Target",
    "bptt_rollout",
    "cheaper_form",
    "dual_rollout",
    "rollout_named",
    "tesla_rollout",
]

Form = Literal["auto", "dual", "bptt", "tesla"]


@runtime_checkable
class Rollout(Protocol):
    """Signature of all rollouts, which train a student differentiably; `dual_rollout` describes the arguments."""

    def __call__(
        self,
        objective: Objective,
        start: Heads,
        rows: Mapping[str, Float[Tensor, "_ _"]],
        targets: Float[Tensor, "T b b"],
        batches: Int[Tensor, "T b"],
        step_sizes: Float[Tensor, "*T M"],
        *,
        momentum: Scalar = 0.0,
        weight_decay: Scalar = 0.0,
        blend: Blend | None = None,
    ) -> Endpoint:
        """Train one student, and return it as an `Endpoint`."""
        ...


def rollout_named(
    form: Form, *, num_rows: int, num_steps: int, batch_size: int, widths: Mapping[str, int], width: int
) -> Rollout:
    """Return the function that implements a form of rollout. For `auto`, `cheaper_form` chooses `dual` or `bptt`."""
    if form == "auto":
        form = cheaper_form(num_rows=num_rows, num_steps=num_steps, batch_size=batch_size, widths=widths, width=width)
    forms: dict[str, Rollout] = {"dual": dual_rollout, "bptt": bptt_rollout, "tesla": tesla_rollout}
    return forms[form]


def cheaper_form(
    *, num_rows: int, num_steps: int, batch_size: int, widths: Mapping[str, int], width: int
) -> Literal["dual", "bptt"]:
    """Return "dual" or "bptt", whichever needs fewer multiply-adds for one rollout with its gradients.

    The form "dual" multiplies the rows once with the heads and once with each other, and its steps use only these
    products. The form "bptt" multiplies every mini-batch with the heads. For N rows, T steps of b rows, embedding width
    d and M modalities, let p be the sum of the feature widths p_m, and n the smaller of N and T b. The numbers of
    multiply-adds are about

        dual    4 n p d + 2 n^2 p + 3 T b n d M
        bptt    T (6 b + 5) p d

    Args:
        num_rows: number of synthetic rows N.
        num_steps: number of training steps T.
        batch_size: number of rows b per mini-batch.
        widths: {modality: feature width p_m}.
        width: embedding width d.
    """
    visited = min(num_rows, num_steps * batch_size)
    total = sum(widths.values())
    dual = 4 * visited * total * width + 2 * visited**2 * total
    dual += 3 * num_steps * batch_size * visited * width * len(widths)
    parameter = num_steps * (6 * batch_size + 5) * total * width
    return "dual" if dual <= parameter else "bptt"
