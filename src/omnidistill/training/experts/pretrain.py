"""Pre-training of the initial heads, if no heads are given: InfoNCE on the `heads` split, from random heads.

Rows of the same group are positives of each other. Without a `heads` split, the initial heads are random (Gaussian with
variance 1/p, where p is the feature width). Retrieval then starts at chance level, and students learn everything from
the synthetic set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field

from omnidistill.core.device import moved
from omnidistill.core.errors import InputError
from omnidistill.core.settings import Count, Positive, Settings
from omnidistill.core.streams import Streams
from omnidistill.data.featureset import Development
from omnidistill.io.tracking import Progress, SilentProgress
from omnidistill.models.heads import Heads, random_heads
from omnidistill.models.objectives import InfoNCE
from omnidistill.training.experts.epochs import stack_runs, train_epochs


class HeadsConfig(Settings):
    """Pre-training of the initial heads with InfoNCE on the `heads` split, if no heads are given."""

    width: Count = 256
    """Output width d of the initial heads, which is the width of the embeddings."""
    num_epochs: Annotated[int, Field(ge=0)] = 30
    """Number of epochs of pre-training on the `heads` split. The heads with the best validation score are used. With 0,
    initial heads are random."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Number of rows per step of pre-training."""
    learning_rate: Positive = 1.0
    """Step size of SGD in pre-training."""
    tau: Positive = 0.07
    """Temperature of the InfoNCE loss that pre-training minimises."""


Scorer = Callable[[Heads], float]
"""Function that scores heads on the validation split; higher is better."""


def pretrain_heads(
    data: Development, config: HeadsConfig, scorer: Scorer, *, seed: int, progress: Progress | None = None
) -> tuple[Heads, int]:
    """Pre-train heads on the `heads` split.

    Args:
        data: the splits; without a `heads` split, the heads are random.
        config: settings of the pre-training.
        scorer: function that scores heads on the validation split.
        seed: seed for the random heads and the order of the rows.
        progress: advances by one per epoch.

    Returns:
        The heads with the best validation score, on the device of the data, and the number of epochs for which they
        were trained (0: random heads).

    Raises:
        InputError: the heads diverged, because the step size is too large.
        NotFiniteError: the heads became NaN or Inf.
    """
    drawn = random_heads(data.train.widths, config.width, Streams(seed)["heads"])
    start = moved(drawn, data.train.device)
    if data.heads is None:
        return start, 0
    heads = stack_runs(start, 1)
    best, best_epoch, best_score = start, 0, scorer(start)
    progress = progress or SilentProgress()
    with progress:
        progress.start(config.num_epochs, "heads")
        epochs = train_epochs(
            InfoNCE(tau=config.tau),
            heads,
            data.heads,
            torch.tensor([config.learning_rate], device="cpu"),
            batch_size=config.batch_size,
            num_epochs=config.num_epochs,
            seed=seed,
            purpose="heads",
        )
        for epoch in epochs:
            current = {name: matrix[0] for name, matrix in heads.items()}
            _check_growth(start, current, config.learning_rate, epoch)
            score = scorer(current)
            if score > best_score:
                best = {name: matrix.clone() for name, matrix in current.items()}
                best_epoch, best_score = epoch, score
            progress.advance(1, validation=score)
    return best, best_epoch


def _check_growth(start: Heads, heads: Heads, learning_rate: float, epoch: int) -> None:
    """Raise InputError if heads diverged, that is, if the norm of a head became extremely large.

    The loss does not depend on this norm. Diverged heads therefore cause no NaN, and only their norm shows the problem.
    """
    growth, name = max((float(heads[name].norm() / start[name].norm()), name) for name in start)
    if growth > _DIVERGED_FROM:
        raise InputError(
            f"heads.learning_rate = {learning_rate:g}: the initial heads diverged (the norm of the head of {name!r} "
            f"became {growth:.0e} times as large by epoch {epoch}); use a smaller heads.learning_rate"
        )


_DIVERGED_FROM = 1e4
