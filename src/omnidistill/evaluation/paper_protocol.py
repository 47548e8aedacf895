"""The published evaluation: how the public code of LoRS (Xu et al. 2024) and RepBlend trains heads on a set of N rows.

    SGD with momentum 0.9 and weight decay 5e-4, with the learned step sizes of the set
    100 epochs of ceil(N / 128) steps on shuffled rows, with min(N, 128) rows per step
    step sizes divided by 10 after 51 epochs (E // 2 + 1 for E epochs)

The setting `evaluate.protocol = "paper"` selects this protocol. The numbers 100 and 128 are the settings
`evaluate.max_epochs` and `evaluate.batch_size`. The baselines that train on real rows (`full`, `full-own`, `random`)
use it too. For them, validation chooses only the step size.

The protocol intentionally differs from the public code in three ways. Training starts from the initial heads (as in
HoPA), not from random heads. The result is the heads of the last epoch, not those with the best test score. The loss is
the objective of the set, whose temperature may differ from 0.07, the temperature of the public code.

The public code does not centre features. Whether features are centred is decided when the data are packed
(`pack --no-centre`), so the protocol only warns if they are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from omnidistill.core.errors import InputError, NotFiniteError
from omnidistill.distillation import DistilledSet
from omnidistill.evaluation.protocol import EvaluateConfig
from omnidistill.training.recipes import Sgd

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


class PublishedSgd(TypedDict, total=False):
    """SGD arguments of training functions under the evaluation protocol "paper"; empty under any other protocol."""

    momentum: float
    weight_decay: float
    decay_after: int


def published_sgd(evaluate: EvaluateConfig, num_rows: int | None = None) -> PublishedSgd:
    """Return the momentum, weight decay and step-size decay of the protocol "paper"; {} for any other protocol.

    Args:
        evaluate: the protocol.
        num_rows: number of training rows, which determines the steps per epoch. If given, `decay_after` in the result
            is a number of steps; otherwise, it is a number of epochs.
    """
    if evaluate.protocol != "paper":
        return {}
    per_epoch = 1 if num_rows is None else steps_per_epoch(evaluate, num_rows)
    decay_after = per_epoch * (evaluate.max_epochs // 2 + 1)
    return {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "decay_after": decay_after}


def steps_per_epoch(evaluate: EvaluateConfig, num_rows: int) -> int:
    """Return the number of steps in an epoch on N rows, ceil(N / batch size)."""
    return math.ceil(num_rows / evaluate.batch_size)


def published_recipe(distilled: DistilledSet, evaluate: EvaluateConfig) -> DistilledSet:
    """Return a copy of the set with the training recipe of the public code of LoRS and RepBlend.

    The step sizes are not changed: they are those of the set's own recipe. Warns if the features of the set are
    centred, because the public code does not centre features.

    Raises:
        InputError: the recipe of the set is not of kind "sgd", so the set has no step sizes.
    """
    if distilled.preprocessing.means:
        warnings.warn(
            "evaluate.protocol = 'paper': the features of the set are centred, but the public code does not centre "
            "features; to do the same, pack or encode the data with --no-centre and distil again",
            UserWarning,
            stacklevel=2,
        )
    size = len(distilled)
    recipe = Sgd(
        step_sizes=sgd_recipe(distilled).step_sizes,
        num_steps=steps_per_epoch(evaluate, size) * evaluate.max_epochs,
        batch_size=min(evaluate.batch_size, size),
        **published_sgd(evaluate, size),
    )
    return distilled.with_recipe(recipe)


def require_finite(heads: Mapping[str, Float[Tensor, "_ _ _"]]) -> None:
    """Raise NotFiniteError if training has diverged, that is, if the heads of a student contain NaN or Inf."""
    for name, matrix in heads.items():
        if not bool(torch.isfinite(matrix).all()):
            raise NotFiniteError(
                f"evaluate.protocol = 'paper': heads of '{name}' became NaN or Inf; momentum {MOMENTUM} makes updates "
                "up to 10 times as large, which the learned step sizes do not allow; use evaluate.protocol = 'ours'"
            )


def sgd_recipe(distilled: DistilledSet) -> Sgd:
    """Return the training recipe of a set, which must be of kind "sgd".

    Raises:
        InputError: the recipe is of a different kind.
    """
    if not isinstance(distilled.recipe, Sgd):
        raise InputError(
            f"the synthetic set has the training recipe '{distilled.recipe.kind}', but the protocol of the paper needs "
            "the recipe 'sgd'; use a set with this recipe, such as a set of the preset hopa"
        )
    return distilled.recipe
